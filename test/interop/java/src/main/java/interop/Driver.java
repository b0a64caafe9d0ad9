package interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;

/**
 * The driver of dtm's Java client (dtmcli-java): participants over HTTP on MariaDB, and the scenarios
 * that this client can express. It speaks the line protocol of test/interop/README.md; it decides
 * nothing about pass or fail.
 */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();

    private final PrintStream protocol = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
    private final Map<String, CountDownLatch> pauses = new ConcurrentHashMap<>();
    private final Map<String, Watch> watches = new ConcurrentHashMap<>();
    private final Map<String, CountDownLatch> meetings = new ConcurrentHashMap<>();
    final Bank bank;

    /** What participants must know of one transaction. */
    static final class Watch {
        private JsonNode command = JSON.createObjectNode();
        private boolean paused;
        private boolean lost;
        private final Map<String, Integer> calls = new HashMap<>();
        private final Set<String> done = new HashSet<>();
    }

    private Driver(JsonNode config) {
        this.bank = new Bank(config.at("/databases/mariadb"));
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode config = JSON.readTree(arguments[0]);
        Driver driver = new Driver(config);
        // Whatever a library prints must not mix with the protocol.
        System.setOut(System.err);
        String http = config.at("/services/http").asText("");
        if (http.isEmpty()) {
            http = Participants.serve(driver);
        }
        driver.emit(Map.of("kind", "ready", "services", Map.of("http", http)));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            driver.accept(JSON.readTree(line), http);
        }
        System.exit(0);
    }

    private void accept(JsonNode command, String http) throws Exception {
        String id = command.path("id").asText();
        if (command.path("continue").asBoolean()) {
            CountDownLatch waiting = pauses.remove(id);
            if (waiting != null) {
                waiting.countDown();
            }
        } else if (!command.path("callsOf").asText().isEmpty()) {
            Watch watch = watchOf(command.path("callsOf").asText());
            synchronized (watch) {
                emit(Map.of("kind", "calls", "id", id, "calls", new HashMap<>(watch.calls)));
            }
        } else {
            new Thread(() -> new Scenario(this, command, http).run()).start();
        }
    }

    void emit(Map<String, ?> line) {
        try {
            String text = JSON.writeValueAsString(line);
            synchronized (protocol) {
                protocol.println(text);
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    Watch watchOf(String gid) {
        return watches.computeIfAbsent(gid, ignored -> new Watch());
    }

    void watch(String gid, JsonNode command) {
        Watch watch = watchOf(gid);
        synchronized (watch) {
            watch.command = command;
        }
    }

    void pause(String id) throws InterruptedException {
        CountDownLatch waiting = new CountDownLatch(1);
        pauses.put(id, waiting);
        emit(Map.of("kind", "pause", "id", id));
        waiting.await();
    }

    /** Counts a call, and says which of its kind it is. */
    int arrives(String gid, String at) {
        Watch watch = watchOf(gid);
        synchronized (watch) {
            return watch.calls.merge(at, 1, Integer::sum);
        }
    }

    boolean isDone(String gid, String at) {
        Watch watch = watchOf(gid);
        synchronized (watch) {
            return watch.done.contains(at);
        }
    }

    /** Asked before a successful answer: may pause; true if the answer is to be lost. */
    boolean leaves(String gid, String at) throws InterruptedException {
        Watch watch = watchOf(gid);
        boolean pauses;
        boolean loses;
        synchronized (watch) {
            pauses = !watch.paused && watch.command.path("pauseAt").asText().equals(at);
            loses = !watch.lost && watch.command.path("loseAnswerOf").asText().equals(at);
            watch.paused |= pauses;
            watch.lost |= loses;
            watch.done.add(at);
        }
        if (pauses) {
            pause(watch.command.path("id").asText());
        }
        return loses;
    }

    CountDownLatch meet(String gid) {
        CountDownLatch meeting = meetings.computeIfAbsent(gid, ignored -> new CountDownLatch(2));
        meeting.countDown();
        return meeting;
    }
}
