import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * The demo: {@code java Demo}, or one decision:
 * {@code java Demo decide RELATION KEY EXPECTED_STATE NEW_STATE REQUEST_ID}.
 */
public final class Demo {
    interface Call { Object get() throws Exception; }

    static UUID petition(int n) {
        return UUID.fromString("00000000-0000-4000-8000-00000000000" + n);
    }

    static String environment(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    static Connection connect() throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + environment("PGHOST", "localhost") + ":" + environment("PGPORT", "5432")
            + "/" + environment("PGDATABASE", ""), environment("PGUSER", System.getProperty("user.name")), environment("PGPASSWORD", ""));
    }

    /** Prints what a call returned, or what its loser was told. */
    static void show(String what, Call call) throws Exception {
        try {
            System.out.println(what + ": " + call.get());
        } catch (PetitionCas.RosterChanged e) {
            System.out.println(what + ": RosterChanged, added " + e.added() + ", removed " + e.removed());
        } catch (PetitionCas.FateException e) {
            System.out.println(what + ": " + e.getClass().getSimpleName() + ", found " + e.currentState() + ", which leads to " + e.allowed());
        }
    }

    static PetitionCas.Roster resolve(Connection connection, String filter) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM resolve_roster('petition_submissions', ?)")) {
            statement.setString(1, filter);
            ResultSet result = statement.executeQuery();
            result.next();
            return new PetitionCas.Roster(List.of((String[]) result.getArray(1).getArray()), result.getString(2));
        }
    }

    static void demo(Connection connection) throws Exception {
        PetitionCas.Transition acknowledge = new PetitionCas.Transition("RECEIVED", "ACKNOWLEDGED");
        show("assign", () -> PetitionCas.assign(connection, petition(1), acknowledge.reason("agreed")).get("state"));
        show("again", () -> PetitionCas.assign(connection, petition(1), acknowledge).get("state"));
        show("not what it is", () -> PetitionCas.assign(connection, petition(2), new PetitionCas.Transition("DELIBERATING", "REFERRED")));
        show("not there", () -> PetitionCas.assign(connection, petition(9), acknowledge));
        show("no way", () -> PetitionCas.swap(connection, "parcels", List.of(7, 1), new PetitionCas.Transition("packing", "delivered")));
        String seen;
        try (Statement statement = connection.createStatement()) {
            ResultSet result = statement.executeQuery("SELECT evidence_hash(p) FROM payments p WHERE id = 1");
            result.next();
            seen = result.getString(1);
            statement.executeUpdate("UPDATE payments SET amount = 9950 WHERE id = 1");
        }
        PetitionCas.Transition approve = new PetitionCas.Transition("pending", "approved");
        show("what was seen", () -> PetitionCas.swap(connection, "payments", 1, approve.seenHash(seen)));
        List<?> keys = List.of(List.of(7, 1), Map.of("id", 2, "tenant", 7), List.of(7, 9));
        for (PetitionCas.Outcome one : PetitionCas.swapMany(connection, "parcels", keys, new PetitionCas.Transition("packing", "shipped"))) {
            System.out.println("many: " + one.key() + " " + one.outcome() + " " + one.currentState());
        }

        String filter = "state:RECEIVED realm:north";
        PetitionCas.Roster stale = resolve(connection, filter);
        PetitionCas.assign(connection, petition(4), acknowledge);
        show("claim", () -> PetitionCas.claim(connection, "petition_submissions", filter, stale, false));
        PetitionCas.Roster seenNow = resolve(connection, filter);
        connection.setAutoCommit(false);
        PetitionCas.Roster claimed = PetitionCas.claim(connection, "petition_submissions", filter, seenNow, false);
        List<PetitionCas.Outcome> outcomes = PetitionCas.swapMany(connection, "petition_submissions", claimed.ids(), acknowledge);
        connection.commit();
        System.out.println("claimed and decided: " + outcomes.stream().filter(one -> one.outcome().equals("assigned")).count());
        show("decide", () -> PetitionCas.decide(Demo::connect, "payments", 2, approve.reason("due")).get("state"));
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 6 && args[0].equals("decide")) {
            try {
                PetitionCas.Transition transition = new PetitionCas.Transition(args[3], args[4]).requestId(args[5]);
                System.out.println(PetitionCas.decide(Demo::connect, args[1], args[2], transition).get("state"));
            } catch (PetitionCas.FateException e) {
                System.err.println(e.getClass().getSimpleName() + ": " + e.getMessage());
                System.exit(1);
            }
            return;
        }
        try (Connection connection = connect()) {
            demo(connection);
        }
    }
}
