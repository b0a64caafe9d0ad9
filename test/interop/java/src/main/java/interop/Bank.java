package interop;

import com.fasterxml.jackson.databind.JsonNode;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Map;
import pub.dtm.client.barrier.BranchBarrier;

/** Moves money in MariaDB under the client's own barrier. */
final class Bank {
    private final String url;
    private final String user;
    private final String password;

    /** A business reason to refuse. */
    static final class Refusal extends Exception {}

    Bank(JsonNode address) {
        // The client's barrier table has no qualifier: it must be found in the connection's database.
        this.url = "jdbc:mariadb://" + address.path("host").asText() + ":" + address.path("port").asInt()
                + "/dtm_barrier";
        this.user = address.path("user").asText();
        this.password = address.path("password").asText();
    }

    void underBarrier(Map<String, String[]> query, String side, String op, JsonNode body) throws Exception {
        BranchBarrier barrier = new BranchBarrier(query);
        try (Connection connection = DriverManager.getConnection(url, user, password)) {
            barrier.call(connection, ignored -> move(connection, side, op, body));
        }
    }

    private static void move(Connection connection, String side, String op, JsonNode body) throws Exception {
        if (body.path("refuses").asText().equals(side) && (op.equals("action") || op.equals("try"))) {
            throw new Refusal();
        }
        int amount = side.equals("out") ? -body.path("amount").asInt() : body.path("amount").asInt();
        int[] effect = effectOf(op);
        String cell = body.path("cell").asText();
        execute(connection, "update assent_bank.account set balance = balance + ?, trading = trading + ? where id = ?",
                effect[0] * amount, effect[1] * amount, cell + "-" + side);
        execute(connection, "insert into assent_bank.ledger (cell, side, op) values (?, ?, ?)", cell, side, op);
    }

    private static int[] effectOf(String op) {
        return switch (op) {
            case "action" -> new int[] {1, 0};
            case "compensate" -> new int[] {-1, 0};
            case "try" -> new int[] {0, 1};
            case "confirm" -> new int[] {1, -1};
            case "cancel" -> new int[] {0, -1};
            default -> throw new IllegalArgumentException(op);
        };
    }

    private static void execute(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            statement.executeUpdate();
        }
    }
}
