package interop;

import com.fasterxml.jackson.databind.JsonNode;
import feign.FeignException;
import java.net.URI;
import java.util.HashMap;
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
        this.dtm = URI.create(command.path("httpUrl").asText()).getAuthority();
    }

    @Override
    public void run() {
        Map<String, Object> line = new HashMap<>(Map.of("kind", "result", "id", id));
        try {
            perform();
            line.put("clientSaw", "success");
        } catch (FailureException failure) {
            line.put("clientSaw", isFailure(failure) ? "failure" : failure.toString());
        } catch (Exception error) {
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
            case "saga-success" -> saga("", false);
            case "saga-rollback" -> saga("in", false);
            case "saga-concurrent" -> saga("", true);
            case "tcc-confirm" -> tcc("");
            case "tcc-cancel" -> tcc("in");
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

    private Map<String, Object> body(String refuses, boolean meets) {
        return Map.of("cell", id, "amount", AMOUNT, "refuses", refuses, "meets", meets);
    }

    private String url(String side, String op) {
        return services + "/" + side + "/" + op;
    }

    private void saga(String refuses, boolean concurrent) throws Exception {
        begin();
        Map<String, Object> body = body(refuses, concurrent);
        // The client's barrier knows no empty compensation of a saga: the step that refuses has none.
        String undoIn = refuses.equals("in") ? "" : url("in", "compensate");
        Saga saga = new DtmClient(dtm).newSaga(gid)
                .add(url("out", "action"), url("out", "compensate"), body)
                .add(url("in", "action"), undoIn, body);
        if (concurrent) {
            saga.enableConcurrent();
        }
        if (command.path("pauseAt").asText().isEmpty() && command.path("loseAnswerOf").asText().isEmpty()) {
            saga.enableWaitResult();
        }
        saga.submit();
    }

    private void tcc(String refuses) throws Exception {
        begin();
        Map<String, Object> body = body(refuses, false);
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
