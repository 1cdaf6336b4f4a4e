import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.sql.Array;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.postgresql.util.PSQLException;

/**
 * petition_cas for Java, on JDBC.
 *
 * <p>assign, swap, swapMany and claim work on a connection of yours, in its transaction, and repeat nothing. What is lost
 * throws a FateException, after which the transaction is aborted, unless the call was behind a savepoint. Only decide has a
 * transaction of its own, and runs it again where that is safe.
 *
 * <p>A relation is a name such as "orders" or "shop.orders", as it is spelled in the catalog; a key is any value whose
 * toString is its text form, or a List or a Map for a key of several columns.
 */
public final class PetitionCas {
    private static final Gson GSON = new Gson();
    private static final int ATTEMPTS = 5;

    private PetitionCas() {}

    /** What a loser is told: the DETAIL, with methods that return null for a member that was left out. */
    public static class FateException extends SQLException {
        private final transient JsonObject detail;

        FateException(PSQLException cause) {
            super(cause.getServerErrorMessage().getMessage(), cause.getSQLState(), cause);
            detail = GSON.fromJson(cause.getServerErrorMessage().getDetail(), JsonObject.class);
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
            return value == null || value.isJsonNull() ? null : value.getAsString();
        }

        List<String> texts(String member) {
            JsonArray values = detail.getAsJsonArray(member);
            return values == null ? null : values.asList().stream().map(JsonElement::getAsString).toList();
        }
    }

    public static final class ConcurrentModification extends FateException { ConcurrentModification(PSQLException e) { super(e); } }
    public static final class AlreadyFated extends FateException { AlreadyFated(PSQLException e) { super(e); } }
    public static final class InvalidTransition extends FateException { InvalidTransition(PSQLException e) { super(e); } }
    public static final class NotFound extends FateException { NotFound(PSQLException e) { super(e); } }
    public static final class EvidenceChanged extends FateException { EvidenceChanged(PSQLException e) { super(e); } }

    public static final class RosterChanged extends FateException {
        RosterChanged(PSQLException e) { super(e); }
        public List<String> added() { return texts("added"); } // at most the first 100
        public List<String> removed() { return texts("removed"); }
        public int addedCount() { return detail().get("added_count").getAsInt(); }
        public int removedCount() { return detail().get("removed_count").getAsInt(); }
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
        String changesJson() { return changes == null ? null : GSON.newBuilder().serializeNulls().create().toJson(changes); }
    }

    public record Outcome(String key, String outcome, String currentState) {}

    /** A set of keys, as text, with its hash; one that claim returns is locked. */
    public record Roster(List<String> ids, String hash) {}

    /** Where decide gets its connections, which it closes. */
    public interface ConnectionSource { Connection get() throws SQLException; }

    /** Assigns a petition's fate, and returns its row. */
    public static Map<String, Object> assign(Connection connection, UUID submissionId, Transition t) throws SQLException {
        return run(connection, "SELECT * FROM assign_fate(?::uuid, ?, ?, ?, ?, ?)", submissionId.toString(),
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
            keys.stream().map(PetitionCas::keyOf).toArray(String[]::new), t.expectedState, t.newState, t.changesJson(),
            t.reason, t.requestId, t.stateColumn).stream()
            .map(row -> new Outcome((String) row.get("key"), (String) row.get("outcome"), (String) row.get("current_state"))).toList();
    }

    /** Locks the rows that a filter selects until the transaction ends, if they are those that were seen, or it is confirmed. */
    public static Roster claim(Connection connection, String source, String filter, Roster seen, boolean confirmed) throws SQLException {
        Map<String, Object> row = run(connection, "SELECT * FROM claim_roster(?::regclass, ?, ?::text[], ?, confirmed => ?::boolean)",
            source, filter, seen.ids.toArray(String[]::new), seen.hash, String.valueOf(confirmed)).get(0);
        return new Roster(List.of((String[]) row.get("resolved_ids")), (String) row.get("roster_hash"));
    }

    /**
     * Decides a row in a transaction of its own, and returns the row. It runs again after class 40 and after a connection
     * that was lost: if the first one had committed, the request id tells the server that it is the same decision.
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
        return "\"" + relation.replace("\"", "\"\"").replace(".", "\".\"").replace("?", "??") + "\"";
    }

    private static String keyOf(Object key) {
        return key instanceof Collection || key instanceof Map ? GSON.toJson(key) : key.toString();
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
            if (e.getServerErrorMessage() == null || e.getServerErrorMessage().getDetail() == null) throw e;
            throw switch (e.getSQLState()) {
                case "PF001" -> new ConcurrentModification(e);
                case "PF002" -> new AlreadyFated(e);
                case "PF003" -> new InvalidTransition(e);
                case "PF004" -> new NotFound(e);
                case "PF005" -> new RosterChanged(e);
                case "PF007" -> new EvidenceChanged(e);
                default -> e;
            };
        }
    }
}
