import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.util.Map;
import java.util.TreeMap;

/** Our codec in a process of its own: one line asked, one line answered. */
final class Ours implements AutoCloseable {
    private final Process process;
    private final BufferedReader answers;
    private final BufferedWriter questions;

    Ours(String program) throws IOException {
        process = new ProcessBuilder(program).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        answers = process.inputReader();
        questions = process.outputWriter();
    }

    /** A message that has a definition. */
    record Row(String versions, short flexible) {
        boolean isFlexible(short version) {
            return version >= flexible;
        }
    }

    Map<String, Row> list() throws IOException {
        Map<String, Row> rows = new TreeMap<>();
        for (String row : ask("list").split(";")) {
            String[] words = row.split(" ");
            rows.put(words[0], new Row(words[1] + "-" + words[2], Short.parseShort(words[3])));
        }
        return rows;
    }

    String recode(String name, short version, String hex) throws IOException {
        return ask("recode " + name + " " + version + " " + hex);
    }

    String make(String name, short version, long seed) throws IOException {
        String made = ask("make " + name + " " + version + " " + Long.toUnsignedString(seed));
        if (made.startsWith("error ")) {
            throw new AssertionError(made);
        }
        return made;
    }

    String request(String name, String frame) throws IOException {
        return ask("request " + name + " " + frame);
    }

    String response(String name, short version, String frame) throws IOException {
        return ask("response " + name + " " + version + " " + frame);
    }

    /** Whether ours has a key for the API with that request. */
    boolean serves(String request) throws IOException {
        return !request(request, "-").equals("error no request " + request);
    }

    private String ask(String question) throws IOException {
        questions.write(question);
        questions.newLine();
        questions.flush();
        String answer = answers.readLine();
        if (answer == null) {
            throw new IOException("our codec ended at: " + question);
        }
        return answer;
    }

    @Override
    public void close() {
        process.destroy();
    }
}
