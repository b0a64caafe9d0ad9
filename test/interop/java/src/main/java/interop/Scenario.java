package interop;

import com.fasterxml.jackson.databind.JsonNode;
import feign.FeignException;
import java.net.URI;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import pub.dtm.client.DtmClient;
import pub.dtm.client.exception.FailureException;
import pub.dtm.client.saga.Saga;
import pub.dtm.client.stub.DtmFeignClient;
import pub.dtm.client.utils.FeignUtils;

/** One scenario being run. */
final class Scenario implements Runnable {
    private static final int AMOUNT = 30;

    private final Driver driver;
    private final JsonNode command;
    private final String services;
    private final String id;
    private final String dtm;
    private String gid = "";

    Scenario(Driver driver, JsonNode command, String services) {
        this.driver = driver;
        this.command = command;
        this.services = services;
        this.id = command.path("id").asText();
        this.dtm = authority(command.path("httpUrl").asText());
    }

    private static String authority(String url) {
        return URI.create(url).getAuthority();
    }

    @Override
    public void run() {
        Map<String, Object> line = new HashMap<>(Map.of("kind", "result", "id", id));
        try {
            perform();
            line.put("clientSaw", "success");
        } catch (FailureException failure) {
            line.put("clientSaw", isFailure(failure) ? "failure" : failure.toString());
        } catch (Exception | StackOverflowError error) {
            line.put("clientSaw", error.toString());
        }
        line.put("gid", gid);
        driver.emit(line);
    }

    /** The client throws the same class for a failed transaction and for a broken call. */
    private static boolean isFailure(FailureException failure) {
        return !(failure.getCause() instanceof FeignException broken) || broken.status() == 409;
    }

    private void perform() throws Exception {
        String scenario = command.path("scenario").asText();
        switch (scenario) {
            case "saga-success" -> saga(Map.of(), false, 1);
            case "saga-rollback" -> saga(Map.of("refuses", "in"), false, 1);
            case "saga-concurrent" -> saga(Map.of("meets", true), true, 1);
            case "saga-orders" -> saga(Map.of("ordered", true), true, 1);
            case "saga-repeated" -> saga(Map.of(), false, 3);
            case "saga-ongoing" -> saga(Map.of("ongoing", "in", "ongoingTimes", 1), false, 1);
            case "tcc-confirm" -> tcc(Map.of());
            case "tcc-cancel" -> tcc(Map.of("refuses", "in"));
            default -> throw new IllegalArgumentException("no such scenario: " + scenario);
        }
    }

    private void begin() throws Exception {
        DtmFeignClient stub = feign.Feign.builder()
                .decoder(new feign.jackson.JacksonDecoder())
                .encoder(new feign.jackson.JacksonEncoder())
                .target(DtmFeignClient.class, "http://" + dtm);
        gid = FeignUtils.parseGid(stub.newGid());
        driver.watch(gid, command);
    }

    private Map<String, Object> body(Map<String, Object> hindrance) {
        Map<String, Object> body = new HashMap<>(hindrance);
        body.put("cell", id);
        body.put("amount", AMOUNT);
        return body;
    }

    private String url(String side, String op) {
        return services + "/" + side + "/" + op;
    }

    private void saga(Map<String, Object> hindrance, boolean concurrent, int submits) throws Exception {
        begin();
        Map<String, Object> body = body(hindrance);
        try {
            for (int i = 0; i < submits; i++) {
                submitSaga(dtm, body, concurrent);
            }
        } catch (FailureException | FeignException error) {
            if (!command.has("again")) {
                throw error;
            }
            submitSaga(authority(command.path("again").path("httpUrl").asText()), body, concurrent);
        }
    }

    private void submitSaga(String server, Map<String, Object> body, boolean concurrent) throws Exception {
        // The client's barrier knows no empty compensation of a saga: the step that does nothing has none.
        boolean does = !body.containsKey("refuses");
        Saga saga = new DtmClient(server).newSaga(gid)
                .add(url("out", "action"), url("out", "compensate"), body)
                .add(url("in", "action"), does ? url("in", "compensate") : "", body);
        if (concurrent) {
            saga.enableConcurrent();
        }
        if (body.containsKey("ordered")) {
            saga.addBranchOrder(1, List.of(0));
        }
        boolean disturbed = command.path("noWait").asBoolean() || command.has("loseAnswerOf");
        if (!disturbed && (!command.has("pauseAt") || command.has("again"))) {
            saga.enableWaitResult();
        }
        saga.submit();
    }

    private void tcc(Map<String, Object> hindrance) throws Exception {
        begin();
        Map<String, Object> body = body(hindrance);
        new DtmClient(dtm).tccGlobalTransaction(gid, transaction -> {
            for (String side : new String[] {"out", "in"}) {
                transaction.callBranch(body, url(side, "try"), url(side, "confirm"), url(side, "cancel"));
            }
            if (command.path("pauseAt").asText().equals("client")) {
                driver.pause(id);
            }
        });
    }
}
