//! Signatures of tokens, verified with the cryptography of the TLS library (`docs/decisions/0006`).

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{Error, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// Accepts RS256 with keys of at least 2,048 bits, and ES256.
pub(super) static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match (algorithm, key.family()) {
        (Algorithm::RS256, AlgorithmFamily::Rsa) => Ok(Box::new(Rs256(key.clone()))),
        (Algorithm::ES256, AlgorithmFamily::Ec) => Ok(Box::new(Es256(key.clone()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Rs256(DecodingKey);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let DecodingKeyKind::RsaModulusExponent { n, e } = self.0.kind() else {
            return Err(Error::new());
        };
        RsaPublicKeyComponents { n, e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .map_err(|_| Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

struct Es256(DecodingKey);

impl Verifier<Vec<u8>> for Es256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let point = self.0.try_get_as_bytes().map_err(Error::from_source)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(message, signature)
            .map_err(|_| Error::new())
    }
}

impl JwtVerifier for Es256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{
        crypto::verify,
        errors::{Error, ErrorKind},
    };

    use super::*;

    /// RFC 7515, A.2 and A.3.
    const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RS256: &str = "eyJhbGciOiJSUzI1NiJ9";
    const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const ES256: &str = "eyJhbGciOiJFUzI1NiJ9";
    const ES256_SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const POINT: (&str, &str) = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );

    fn check(
        header: &str,
        signature: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<bool> {
        let _ = PROVIDER.install_default();
        verify(
            signature,
            format!("{header}.{CLAIMS}").as_bytes(),
            key,
            algorithm,
        )
    }

    #[test]
    fn rfc_7515_examples_are_verified() {
        let rsa = DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap();
        let ec = DecodingKey::from_ec_components(POINT.0, POINT.1).unwrap();
        let rs256 = |header, signature| check(header, signature, &rsa, Algorithm::RS256).unwrap();
        let es256 = |header, signature| check(header, signature, &ec, Algorithm::ES256).unwrap();
        assert!(rs256(RS256, RS256_SIGNATURE));
        assert!(es256(ES256, ES256_SIGNATURE));

        assert!(!rs256(ES256, RS256_SIGNATURE));
        assert!(!es256(RS256, ES256_SIGNATURE));
        assert!(!rs256(RS256, ES256_SIGNATURE));
        assert!(!es256(ES256, RS256_SIGNATURE));
        assert!(!rs256(RS256, ""));
        assert!(!es256(ES256, ""));
        // (0, 0): an implementation without range checks accepts it for any message.
        assert!(!es256(ES256, &"A".repeat(86)));
    }

    #[test]
    fn key_is_valid_for_its_algorithm_only() {
        let refused = |result: Result<bool>| {
            let error: Error = result.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::InvalidAlgorithm),
                "{error}"
            );
        };
        let rsa = DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap();
        let ec = DecodingKey::from_ec_components(POINT.0, POINT.1).unwrap();
        refused(check(ES256, ES256_SIGNATURE, &rsa, Algorithm::ES256));
        refused(check(RS256, RS256_SIGNATURE, &ec, Algorithm::RS256));
        // The public key as a symmetric secret, which everybody knows.
        let secret = DecodingKey::from_secret(MODULUS.as_bytes());
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::HS256] {
            refused(check(RS256, RS256_SIGNATURE, &secret, algorithm));
        }
        for other in [Algorithm::RS512, Algorithm::PS256] {
            refused(check(RS256, RS256_SIGNATURE, &rsa, other));
        }
    }

    #[test]
    fn short_rsa_key_is_refused() {
        // 1,024 bits, and a signature made with it.
        let modulus = "2lsNf_emJmO8IkGFcThS11Z8mg7ei0E50sVyy4izHCpbPlkuVIhedEZqLsy0tUeyQyo-lGg0KznvXbpgHh0V4Loee8nbHf4ByI22x0auChbstbrFd-T3inH_t9MhYgQDc70jZs63Xkp3-NteY6DiN-kYnrN7Uyk0BEnVd5hJqc0";
        let signature = "ZYQbE8QLuR2SjkDf18gNLUD-iBfPYNa8MyRw9co6x4Q-cDq_CyPC7_SoszVEIWXd70PQ7_t4c-oeqDsozjcaLv9U-DnzMTyfhDjL8dINGPv53cDjXFZEhY0GG4qj-U2P6Yrzotmksash2ur1ksPUy64XzoNThiGsIuoyUhncQAU";
        let short = DecodingKey::from_rsa_components(modulus, "AQAB").unwrap();
        assert!(!check(RS256, signature, &short, Algorithm::RS256).unwrap());
    }
}
