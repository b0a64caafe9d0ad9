package interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** The services that transactions call: POST /side/op. */
final class Participants {
    private Participants() {}

    /** A branch that asks to be called again. */
    private static final class Ongoing extends Exception {}

    static String serve(Driver driver) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> handle(driver, exchange));
        server.start();
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    private static void handle(Driver driver, HttpExchange exchange) throws IOException {
        int status = 200;
        String answer = "{\"dtm_result\":\"SUCCESS\"}";
        try {
            branch(driver, exchange);
        } catch (Bank.Refusal refusal) {
            status = 409;
            answer = "{\"dtm_result\":\"FAILURE\"}";
        } catch (Ongoing ongoing) {
            status = 425;
            answer = "{\"dtm_result\":\"ONGOING\"}";
        } catch (Exception error) {
            status = 500;
            answer = Driver.JSON.writeValueAsString(Map.of("error", String.valueOf(error)));
        }
        byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("content-type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private static void branch(Driver driver, HttpExchange exchange) throws Exception {
        Map<String, String[]> query = queryOf(exchange.getRequestURI().getRawQuery());
        String[] path = exchange.getRequestURI().getPath().split("/");
        String side = path[1];
        String op = path[2];
        JsonNode body = Driver.JSON.readTree(exchange.getRequestBody());
        String gid = query.get("gid")[0];
        String at = op + "@" + side;
        int call = driver.arrives(gid, at);
        if (op.equals("action")) {
            hinder(driver, gid, side, body, call);
        }
        driver.bank.underBarrier(query, side, op, body);
        if (driver.leaves(gid, at)) {
            throw new IllegalStateException("the answer of this call is lost on purpose");
        }
    }

    /** What a scenario puts in the way of an action. */
    private static void hinder(Driver driver, String gid, String side, JsonNode body, int call) throws Exception {
        if (body.path("ongoing").asText().equals(side) && call <= body.path("ongoingTimes").asInt()) {
            throw new Ongoing();
        }
        if (body.path("ordered").asBoolean() && side.equals("in") && !driver.isDone(gid, "action@out")) {
            throw new IllegalStateException("the action of out has not been done");
        }
        if (body.path("meets").asBoolean() && !driver.meet(gid).await(2, TimeUnit.SECONDS)) {
            throw new IllegalStateException("the other concurrent branch did not begin");
        }
    }

    private static Map<String, String[]> queryOf(String raw) {
        Map<String, String[]> query = new HashMap<>();
        for (String pair : raw.split("&")) {
            int equals = pair.indexOf('=');
            String value = URLDecoder.decode(pair.substring(equals + 1), StandardCharsets.UTF_8);
            query.put(pair.substring(0, equals), new String[] {value});
        }
        return query;
    }
}
