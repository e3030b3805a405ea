import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;

/** Runs checks one after the other, says which hold, and ends at the first that does not. */
final class Checks {
    interface Check {
        void run() throws Exception;
    }

    private final Map<String, Check> checks = new LinkedHashMap<>();

    void add(String sentence, Check check) {
        checks.put(sentence, check);
    }

    /** Ends the process. */
    void run() {
        int passed = 0;
        for (Map.Entry<String, Check> entry : checks.entrySet()) {
            long started = System.nanoTime();
            try {
                entry.getValue().run();
            } catch (Throwable fault) {
                fault.printStackTrace();
                System.out.printf("FAILED %s: %s%n%d passed, 1 failed%n", entry.getKey(), fault, passed);
                System.exit(1);
            }
            passed++;
            System.out.printf("ok     %s (%.1f s)%n", entry.getKey(), (System.nanoTime() - started) / 1e9);
        }
        System.out.printf("%d passed, 0 failed%n", passed);
        System.exit(0);
    }

    static String fresh(String word) {
        return word + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    static void equal(Object found, Object expected, String what) {
        if (!Objects.deepEquals(found, expected)) {
            throw new AssertionError(what + ": found " + found + ", expected " + expected);
        }
    }

    /** Asks again until the answer is true. */
    static void eventually(String what, Callable<Boolean> question) throws Exception {
        long until = System.nanoTime() + 40_000_000_000L;
        while (System.nanoTime() < until) {
            if (question.call()) {
                return;
            }
            Thread.sleep(20);
        }
        throw new AssertionError("not within 40 s: " + what);
    }

    /** The action must fail with this exception, bare or as the cause of another. */
    static void refused(Class<? extends Throwable> expected, Check action) throws Exception {
        try {
            action.run();
        } catch (Exception fault) {
            Throwable cause = fault instanceof ExecutionException ? fault.getCause() : fault;
            if (!expected.isInstance(cause)) {
                throw new AssertionError("refused with " + cause + ", expected " + expected.getSimpleName(), cause);
            }
            return;
        }
        throw new AssertionError("not refused; expected " + expected.getSimpleName());
    }
}
