import java.math.BigDecimal;
import java.math.BigInteger;
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
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/** What becomes of keys and values of each type: {@code java Values}, after ../values.sql. */
public final class Values {
    enum Colour { red }
    interface Call { void run() throws SQLException; }
    record Case(String type, Object value) {}

    static final String ODD = "50% \"odd\"?.";
    static final byte[] BYTES = {0, 97, 98, -1};
    static final PetitionCas.Transition HOLD = new PetitionCas.Transition("open", "held");
    static final PetitionCas.Transition OPEN = new PetitionCas.Transition("held", "open");
    static final PetitionCas.Transition WIN = new PetitionCas.Transition("open", "won");
    static final List<Case> CASES = List.of(
        new Case("text", "O'Brien \"?%s\\ ü"), new Case("text", Colour.red), new Case("bigint", (1L << 53) + 1),
        new Case("bigint", BigInteger.TWO.pow(53).add(BigInteger.ONE)), new Case("numeric", new BigDecimal("0.10")),
        new Case("boolean", true), new Case("double precision", 0.1), new Case("bytea", BYTES),
        new Case("date", LocalDate.of(2026, 3, 1)), new Case("date", java.sql.Date.valueOf("2026-03-01")),
        new Case("time", LocalTime.of(9, 30, 0, 250_000_000)),
        new Case("timestamp", LocalDateTime.of(2026, 3, 1, 9, 30, 0, 250_000_000)),
        new Case("timestamptz", OffsetDateTime.parse("2026-03-01T09:30:00.25+01:00")),
        new Case("timestamptz", ZonedDateTime.parse("2026-03-01T09:30:00.25+01:00[Europe/Berlin]")),
        new Case("timestamptz", Instant.parse("2026-03-01T08:30:00.25Z")), new Case("interval", Duration.ofMillis(-1500)),
        new Case("uuid", UUID.fromString("00000000-0000-4000-8000-000000000001")));
    static final List<Object> REFUSED = List.of(new Object(), new java.sql.Timestamp(0), new java.util.Date(0), Optional.of("a"), "\ud800");
    static final List<Object> REFUSED_KEYS = List.of(9007199254740992.0, Double.NaN);

    static String refused(Call call) throws SQLException {
        try {
            call.run();
            return "sent";
        } catch (IllegalArgumentException e) {
            return e.getMessage();
        }
    }

    /** The SQLSTATE of the server's error, if it is not one of petition_cas. */
    static String state(Call call) {
        try {
            call.run();
            return "sent";
        } catch (SQLException e) {
            return e instanceof PetitionCas.FateException ? e.getClass().getSimpleName() : e.getSQLState();
        }
    }

    static String ask(Connection connection, String sql, String value) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, value);
            ResultSet result = statement.executeQuery();
            result.next();
            return result.getString(1) + " " + result.getString(2);
        }
    }

    static void show(Connection c) throws SQLException, InterruptedException {
        for (Case one : CASES) {
            Object value = one.value;
            String table = ODD + one.type;
            String parts = table + " part";
            PetitionCas.swap(c, table, value, HOLD.changes(Map.of("value", value, "document", List.of(value))));
            String key = PetitionCas.swapMany(c, table, List.of(value), OPEN).get(0).key();
            PetitionCas.swap(c, parts, List.of(1, value), HOLD);
            String part = PetitionCas.swapMany(c, parts, List.of(Map.of("id", value, "n", 1)), OPEN).get(0).key();
            System.out.println(value.getClass().getSimpleName() + ": key " + key + ", part " + part + ", value "
                + ask(c, "SELECT * FROM stored(?)", one.type));
        }
        Map<String, Object> document = new HashMap<>();
        document.put("n", null);
        document.put("nan", Double.NaN);
        document.put("more", Map.of("a", new Object[] {"b", 1, true}));
        Map<String, Object> changes = new HashMap<>();
        changes.put("value", null);
        changes.put("document", document);
        PetitionCas.swap(c, ODD + "text", "red", HOLD.changes(changes));
        PetitionCas.swap(c, ODD + "text", "red", OPEN);
        System.out.println("null in changes: " + ask(c, "SELECT * FROM stored(?)", "text"));
        List<?> nulls = Collections.singletonList(null);
        System.out.println("null as key: " + state(() -> PetitionCas.swap(c, ODD + "text", null, WIN)));
        System.out.println("null as keys: " + state(() -> PetitionCas.swapMany(c, ODD + "text", null, WIN)));
        System.out.println("null as one of keys: " + state(() -> PetitionCas.swapMany(c, ODD + "text", nulls, WIN)));
        System.out.println("null as part: " + state(() -> PetitionCas.swap(c, ODD + "text part", Arrays.asList(1, null), WIN)));
        List<Object> refusals = new ArrayList<>(REFUSED);
        refusals.addAll(REFUSED_KEYS);
        for (Object value : refusals) {
            Set<String> told = new LinkedHashSet<>(List.of(refused(() -> PetitionCas.swap(c, ODD + "text", value, WIN))));
            told.add(refused(() -> PetitionCas.swap(c, ODD + "text part", List.of(1, value), WIN)));
            told.add(refused(() -> PetitionCas.swap(c, ODD + "text part", Map.of("n", 1, "id", value), WIN)));
            told.add(refused(() -> PetitionCas.swapMany(c, ODD + "text", List.of(value), WIN)));
            if (REFUSED.contains(value)) {
                told.add(refused(() -> PetitionCas.swap(c, ODD + "text", "red", HOLD.changes(Map.of("document", List.of(value))))));
            }
            System.out.println(value.getClass().getSimpleName() + ": " + String.join(" ", told));
        }
        System.out.println("part: " + refused(() -> PetitionCas.swap(c, ODD + "text part", List.of(1, new int[] {2}), WIN)));
        System.out.println("member: " + refused(() -> PetitionCas.swap(c, ODD + "text", "red", HOLD.changes(Map.of("document", Map.of(1, 2))))));
        for (String name : new String[] {null, "", ".a", "a\0b", "a".repeat(64)}) {
            String told = refused(() -> PetitionCas.swap(c, name, 1, WIN));
            System.out.println("relation: " + told + " " + (told.equals(refused(() -> PetitionCas.swapMany(c, name, List.of(1), WIN)))
                && told.equals(refused(() -> PetitionCas.claim(c, name, "", new PetitionCas.Roster(List.of(), ""), false)))));
        }
        String[] seen = ask(c, "SELECT resolved_ids[1], roster_hash FROM resolve_roster(?::regclass, 'state:open')", "\"50% \"\"odd\"\"?\".\"Orders\"").split(" ");
        PetitionCas.Roster roster = new PetitionCas.Roster(List.of(seen[0]), seen[1]);
        System.out.println("claim: " + PetitionCas.claim(c, ODD + "Orders", "state:open", roster, false).ids() + " "
            + state(() -> PetitionCas.claim(c, ODD + "orders", "state:open", roster, false)));
        for (String id : List.of("no JSON", "[\"a\"]", "null", "")) {
            System.out.println("PF001 with DETAIL " + id + ": " + state(() -> PetitionCas.swap(c, "strange", id, WIN)));
        }

        // A connection that is lost when it has been made, and before it is used.
        List<Connection> made = new ArrayList<>();
        Object state = PetitionCas.decide(() -> {
            Connection one = Demo.connect();
            made.add(one);
            if (made.size() == 1) {
                int process = one.unwrap(org.postgresql.PGConnection.class).getBackendPID();
                ask(c, "SELECT pg_terminate_backend(?::integer, 10000), 1", String.valueOf(process));
            }
            return one;
        }, "late", 1, WIN).get("state");
        System.out.println("lost: " + state + ", " + made.size() + " connections");
    }

    public static void main(String[] args) throws SQLException, InterruptedException {
        try (Connection connection = Demo.connect()) {
            show(connection);
        }
    }
}
