// SPDX-License-Identifier: Apache-2.0
// Java's own PKIX validation with revocation checking: `java CheckRevocation.java ocsp|crl LEAF.pem CHAIN.pem` (issuing first, root last).
// Prints VALID, or the reason of the CertPathValidatorException ("REVOKED", "UNDETERMINED_REVOCATION_STATUS", …).
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

public class CheckRevocation {
    static List<X509Certificate> read(String path) throws Exception {
        List<X509Certificate> out = new ArrayList<>();
        try (InputStream in = new FileInputStream(path)) {
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
                out.add((X509Certificate) certificate);
            }
        }
        return out;
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("com.sun.security.enableCRLDP", "true");
        List<X509Certificate> path = new ArrayList<>(List.of(read(arguments[1]).get(0)));
        List<X509Certificate> chain = read(arguments[2]);
        X509Certificate root = chain.get(chain.size() - 1);
        path.addAll(chain.subList(0, chain.size() - 1));

        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        EnumSet<PKIXRevocationChecker.Option> options = EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK);
        if (arguments[0].equals("crl")) {
            options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
        }
        checker.setOptions(options);
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.addCertPathChecker(checker);
        CertPath certPath = CertificateFactory.getInstance("X.509").generateCertPath(path);
        try {
            validator.validate(certPath, parameters);
            System.out.println("VALID");
        } catch (CertPathValidatorException e) {
            System.out.println(e.getReason() + " at " + e.getIndex() + ": " + e.getMessage());
        }
    }
}
