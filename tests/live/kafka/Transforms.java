/*
 * Applies the transforms of a sink's settings to one record, as Kafka Connect does, and prints the
 * record's key and value.
 *
 *   java -cp 'lib/*' Transforms.java KEY VALUE_FILE name=value ...
 */
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.Transformation;

public class Transforms {
    @SuppressWarnings("unchecked")
    public static void main(String[] args) throws Exception {
        Map<String, String> settings = new HashMap<>();
        for (int i = 2; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", settings.get("value.converter.schemas.enable")), false);
        byte[] value = Files.readAllBytes(Path.of(args[1]));
        SinkRecord record = new SinkRecord(
            "topic", 0, null, args[0], null, converter.toConnectData("topic", value).value(), 7);
        for (String name : settings.get("transforms").split(",")) {
            String prefix = "transforms." + name + ".";
            Map<String, String> own = new HashMap<>();
            settings.forEach((key, text) -> {
                if (key.startsWith(prefix)) {
                    own.put(key.substring(prefix.length()), text);
                }
            });
            var transform = (Transformation<SinkRecord>) Class.forName(own.get("type"))
                .getDeclaredConstructor().newInstance();
            transform.configure(own);
            record = transform.apply(record);
        }
        System.out.println(record.key());
        System.out.write(converter.fromConnectData("topic", null, record.value()));
        System.out.flush();
    }
}
