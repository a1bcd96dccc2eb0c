import java.io.*;
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.zip.*;

/** Reads a container as a stream and tells length, SHA-256 and name of each entry. */
class Unpack {
    public static void main(String[] args) throws Exception {
        byte[] buffer = new byte[65536];
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        try (ZipInputStream zip = new ZipInputStream(Files.newInputStream(Path.of(args[0])))) {
            for (ZipEntry entry; (entry = zip.getNextEntry()) != null; ) {
                MessageDigest digest = MessageDigest.getInstance("SHA-256");
                long length = 0;
                for (int count; (count = zip.read(buffer)) >= 0; length += count) digest.update(buffer, 0, count);
                out.println(length + " " + HexFormat.of().formatHex(digest.digest()) + " " + entry.getName());
            }
        }
    }
}
