import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.OffsetTime;
import java.time.Period;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Collectors;
import org.postgresql.util.PSQLException;

/**
 * petition_cas for Java, on JDBC.
 *
 * <p>assign, swap, swapMany and claim work on a connection of yours, in its transaction, and repeat nothing. What is lost
 * throws a FateException, after which the transaction is aborted, unless the call was behind a savepoint. Only decide has a
 * transaction of its own, and runs it again where that is safe.
 *
 * <p>A relation is a name such as "orders" or "shop.orders", as it is spelled in the catalog; a key is a value, or a
 * Collection, an array or a Map for a key of several columns. README.md tells as what each type of value is sent; an
 * IllegalArgumentException refuses the others, before anything is sent.
 */
public final class PetitionCas {
    private static final Gson GSON = new Gson();
    private static final int ATTEMPTS = 5;

    private PetitionCas() {}

    /** What a loser is told: the DETAIL, with methods that return null for a member that was left out. */
    public static class FateException extends SQLException {
        private final transient JsonObject detail;

        FateException(PSQLException cause, JsonObject detail) {
            super(cause.getServerErrorMessage().getMessage(), cause.getSQLState(), cause);
            this.detail = detail;
        }

        public JsonObject detail() { return detail; }
        public String submissionId() { return text("submission_id"); }
        public String relation() { return text("relation"); }
        public String key() { return text("key"); }
        public String expectedState() { return text("expected_state"); }
        public String currentState() { return text("current_state"); }
        public String newState() { return text("new_state"); }
        public List<String> allowed() { return texts("allowed"); }
        public String assignedAt() { return text("assigned_at"); }
        public String assignedBy() { return text("assigned_by"); }
        public String reason() { return text("reason"); }
        public String requestId() { return text("request_id"); }
        public String evidenceHash() { return text("evidence_hash"); }

        String text(String member) {
            JsonElement value = detail.get(member);
            return value != null && value.isJsonPrimitive() ? value.getAsString() : null;
        }

        List<String> texts(String member) {
            return detail.get(member) instanceof JsonArray values ? values.asList().stream().map(JsonElement::getAsString).toList() : null;
        }

        Integer number(String member) {
            return text(member) == null ? null : Integer.valueOf(text(member));
        }
    }

    public static final class ConcurrentModification extends FateException { ConcurrentModification(PSQLException e, JsonObject detail) { super(e, detail); } }
    public static final class AlreadyFated extends FateException { AlreadyFated(PSQLException e, JsonObject detail) { super(e, detail); } }
    public static final class InvalidTransition extends FateException { InvalidTransition(PSQLException e, JsonObject detail) { super(e, detail); } }
    public static final class NotFound extends FateException { NotFound(PSQLException e, JsonObject detail) { super(e, detail); } }
    public static final class EvidenceChanged extends FateException { EvidenceChanged(PSQLException e, JsonObject detail) { super(e, detail); } }

    public static final class RosterChanged extends FateException {
        RosterChanged(PSQLException e, JsonObject detail) { super(e, detail); }
        public List<String> added() { return texts("added"); } // at most the first 100; null if no ids were seen
        public List<String> removed() { return texts("removed"); }
        public Integer addedCount() { return number("added_count"); }
        public Integer removedCount() { return number("removed_count"); }
        public String rosterHash() { return text("roster_hash"); }
    }

    /** From which state to which, and what goes with it; null is nothing. Petitions take no changes, many rows no seenHash. */
    public record Transition(String expectedState, String newState, Map<String, ?> changes, String reason, String seenHash,
                             String requestId, String stateColumn) {
        public Transition(String expectedState, String newState) { this(expectedState, newState, null, null, null, null, null); }
        public Transition changes(Map<String, ?> to) { return new Transition(expectedState, newState, to, reason, seenHash, requestId, stateColumn); }
        public Transition reason(String to) { return new Transition(expectedState, newState, changes, to, seenHash, requestId, stateColumn); }
        public Transition seenHash(String to) { return new Transition(expectedState, newState, changes, reason, to, requestId, stateColumn); }
        public Transition requestId(String to) { return new Transition(expectedState, newState, changes, reason, seenHash, to, stateColumn); }
        public Transition stateColumn(String to) { return new Transition(expectedState, newState, changes, reason, seenHash, requestId, to); }
        String changesJson() { return changes == null ? null : jsonOf(changes); }
    }

    public record Outcome(String key, String outcome, String currentState) {}

    /** A set of keys, as text, with its hash; one that claim returns is locked. */
    public record Roster(List<String> ids, String hash) {}

    /** Where decide gets its connections, which it closes. */
    public interface ConnectionSource { Connection get() throws SQLException; }

    /** Assigns a petition's fate, and returns its row. */
    public static Map<String, Object> assign(Connection connection, UUID submissionId, Transition t) throws SQLException {
        return run(connection, "SELECT * FROM assign_fate(?::uuid, ?, ?, ?, ?, ?)", keyOf(submissionId),
            t.expectedState, t.newState, t.reason, t.seenHash, t.requestId).get(0);
    }

    /** Moves a row of a governed table, and returns the row. */
    public static Map<String, Object> swap(Connection connection, String relation, Object key, Transition t) throws SQLException {
        return run(connection, "SELECT * FROM compare_and_swap(null::" + nameOf(relation) + ", ?::text, ?, ?, ?::jsonb, ?, ?, ?, ?)",
            keyOf(key), t.expectedState, t.newState, t.changesJson(), t.reason, t.seenHash, t.requestId, t.stateColumn).get(0);
    }

    /** Moves many rows in one statement, and returns what became of each, in the order given. */
    public static List<Outcome> swapMany(Connection connection, String relation, Collection<?> keys, Transition t) throws SQLException {
        return run(connection, "SELECT * FROM compare_and_swap_many(null::" + nameOf(relation) + ", ?::text[], ?, ?, ?::jsonb, ?, ?, ?)",
            keysOf(keys), t.expectedState, t.newState, t.changesJson(),
            t.reason, t.requestId, t.stateColumn).stream()
            .map(row -> new Outcome((String) row.get("key"), (String) row.get("outcome"), (String) row.get("current_state"))).toList();
    }

    /** Locks the rows that a filter selects until the transaction ends, if they are those that were seen, or it is confirmed. */
    public static Roster claim(Connection connection, String source, String filter, Roster seen, boolean confirmed) throws SQLException {
        Map<String, Object> row = run(connection, "SELECT * FROM claim_roster(?::regclass, ?, ?::text[], ?, confirmed => ?::boolean)",
            nameOf(source), filter, keysOf(seen.ids), seen.hash, String.valueOf(confirmed)).get(0);
        return new Roster(List.of((String[]) row.get("resolved_ids")), (String) row.get("roster_hash"));
    }

    /**
     * Decides a row in a transaction of its own, and returns the row. It runs again after class 40 and after a connection
     * that was lost: if the first one had committed, the request id tells the server that it is the same decision. Request ids are recorded
     * with fates alone, so newState has to be a fate, or the table to have a history: else the server refuses the call (22023).
     */
    public static Map<String, Object> decide(ConnectionSource source, String relation, Object key, Transition transition)
            throws SQLException, InterruptedException {
        String requestId = transition.requestId == null ? UUID.randomUUID().toString() : transition.requestId;
        for (int attempt = 1; ; attempt++) {
            try (Connection connection = source.get()) {
                connection.setAutoCommit(true);
                return swap(connection, relation, key, transition.requestId(requestId));
            } catch (SQLException e) {
                if (attempt == ATTEMPTS || !mayRepeat(e)) throw e;
            }
            Thread.sleep(50L << attempt);
        }
    }

    /** Whether a transaction that ended so may be run again: class 40, 08 or 57P. */
    public static boolean mayRepeat(SQLException e) {
        return e.getSQLState() != null && e.getSQLState().matches("40...|08...|57P..");
    }

    private static String nameOf(String relation) {
        List<String> parts = relation == null ? List.of("") : List.of(relation.split("\\.", -1));
        for (String part : parts) {
            // The server would cut a longer name off, which may be another table's.
            if (part.isEmpty() || part.indexOf('\0') >= 0 || wellFormed(part).getBytes(StandardCharsets.UTF_8).length > 63) {
                throw new IllegalArgumentException("no name of a relation: " + GSON.toJson(relation));
            }
        }
        return parts.stream().map(part -> "\"" + part.replace("\"", "\"\"") + "\"").collect(Collectors.joining("."));
    }

    private static String wellFormed(String text) {
        if (text.codePoints().anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)) {
            throw new IllegalArgumentException("a string with half a surrogate pair is no text");
        }
        return text;
    }

    /** The text form of a value, which the input functions of the types that it is for read under any setting. */
    private static String textOf(Object value) {
        if (value instanceof CharSequence || value instanceof Character) return wellFormed(value.toString());
        if (value instanceof byte[] bytes) return "\\x" + HexFormat.of().formatHex(bytes);
        if (value instanceof Enum<?> constant) return constant.name();
        if (value instanceof ZonedDateTime time) return time.toOffsetDateTime().toString();
        if (value instanceof Duration d) return String.format("%+d seconds %+d microseconds", d.getSeconds(), d.getNano() / 1000);
        if (value instanceof Boolean || isNumber(value) || value instanceof UUID || value instanceof LocalDate || value instanceof LocalTime
            || value instanceof OffsetTime || value instanceof LocalDateTime || value instanceof OffsetDateTime || value instanceof Instant
            || value instanceof Period || value instanceof java.sql.Date) return value.toString();
        throw new IllegalArgumentException("a value of type " + typeOf(value) + " has no certain text form here: give it as text");
    }

    private static String typeOf(Object value) {
        return value == null ? "null" : value.getClass().getSimpleName();
    }

    private static boolean isNumber(Object value) {
        return value instanceof Integer || value instanceof Long || value instanceof Short || value instanceof Byte
            || value instanceof BigInteger || value instanceof BigDecimal || value instanceof Double || value instanceof Float;
    }

    private static String keyTextOf(Object value) {
        if ((value instanceof Double || value instanceof Float) && !(Math.abs(((Number) value).doubleValue()) < 1L << 53)) {
            throw new IllegalArgumentException("the float " + value + " is not exact as a key: give it as text");
        }
        return value == null ? null : textOf(value);
    }

    /** The elements of a Collection or an array, but not of bytes; otherwise null. */
    private static List<?> elementsOf(Object value) {
        if (value instanceof Collection<?> elements) return new ArrayList<>(elements);
        if (value == null || value instanceof byte[] || !value.getClass().isArray()) return null;
        List<Object> elements = new ArrayList<>();
        for (int i = 0; i < java.lang.reflect.Array.getLength(value); i++) elements.add(java.lang.reflect.Array.get(value, i));
        return elements;
    }

    private static String memberOf(Object name) {
        if (!(name instanceof CharSequence || name instanceof Enum)) {
            throw new IllegalArgumentException("a value of type " + typeOf(name) + " names no column or member: give a text");
        }
        return GSON.toJson(textOf(name));
    }

    private static String keyOf(Object key) {
        List<?> elements = elementsOf(key);
        if (elements != null) return elements.stream().map(e -> GSON.toJson(keyTextOf(e))).collect(Collectors.joining(",", "[", "]"));
        if (!(key instanceof Map<?, ?> columns)) return keyTextOf(key);
        return columns.entrySet().stream().map(e -> memberOf(e.getKey()) + ":" + GSON.toJson(keyTextOf(e.getValue())))
            .collect(Collectors.joining(",", "{", "}"));
    }

    private static String[] keysOf(Collection<?> keys) {
        return keys == null ? null : keys.stream().map(PetitionCas::keyOf).toArray(String[]::new);
    }

    /** The JSON of a value of changes; what JSON has no type for is a string of its text form. */
    private static String jsonOf(Object value) {
        List<?> elements = elementsOf(value);
        if (value == null || value instanceof JsonElement) return String.valueOf(value);
        if (elements != null) return elements.stream().map(PetitionCas::jsonOf).collect(Collectors.joining(",", "[", "]"));
        if (value instanceof Map<?, ?> members) {
            return members.entrySet().stream().map(e -> memberOf(e.getKey()) + ":" + jsonOf(e.getValue()))
                .collect(Collectors.joining(",", "{", "}"));
        }
        boolean bare = value instanceof Boolean || isNumber(value) && Double.isFinite(((Number) value).doubleValue());
        return bare ? textOf(value) : GSON.toJson(textOf(value));
    }

    /** The members of the DETAIL; null if it is no JSON object, as of an error that somebody else raised. */
    private static JsonObject detailOf(PSQLException e) {
        try {
            String detail = e.getServerErrorMessage() == null ? null : e.getServerErrorMessage().getDetail();
            return detail != null && GSON.getAdapter(JsonElement.class).fromJson(detail) instanceof JsonObject members ? members : null;
        } catch (IOException | JsonParseException notJson) {
            return null;
        }
    }

    /** Runs a call; an error of the server that is one of petition_cas becomes a FateException. */
    private static List<Map<String, Object>> run(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                if (values[i] instanceof String[] texts) statement.setArray(i + 1, connection.createArrayOf("text", texts));
                else statement.setString(i + 1, (String) values[i]);
            }
            ResultSet result = statement.executeQuery();
            List<Map<String, Object>> rows = new ArrayList<>();
            while (result.next()) {
                Map<String, Object> row = new LinkedHashMap<>();
                for (int i = 1; i <= result.getMetaData().getColumnCount(); i++) {
                    Object value = result.getObject(i);
                    row.put(result.getMetaData().getColumnName(i), value instanceof Array array ? array.getArray() : value);
                }
                rows.add(row);
            }
            return rows;
        } catch (PSQLException e) {
            JsonObject detail = detailOf(e);
            if (detail == null) throw e;
            throw switch (e.getSQLState()) {
                case "PF001" -> new ConcurrentModification(e, detail);
                case "PF002" -> new AlreadyFated(e, detail);
                case "PF003" -> new InvalidTransition(e, detail);
                case "PF004" -> new NotFound(e, detail);
                case "PF005" -> new RosterChanged(e, detail);
                case "PF007" -> new EvidenceChanged(e, detail);
                default -> e;
            };
        }
    }
}
