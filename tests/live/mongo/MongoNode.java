import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;

/** On a free port of loopback, until standard input ends. */
public class MongoNode {
    public static void main(String[] words) throws Exception {
        MongoServer server = new MongoServer(new MemoryBackend());
        System.out.println(server.bind().getPort());
        System.out.flush();
        while (System.in.read() >= 0) { }
        server.shutdownNow();
    }
}
