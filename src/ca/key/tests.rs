//! Keys in all the forms that operators and istiod write.

use std::process::{Command, Stdio};

use super::*;

/// What openssl makes of a key, or makes itself.
fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    child.stdin.take().expect("a pipe").write_all(input).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "openssl {args:?}");
    output.stdout
}

#[test]
fn keys_of_every_form_are_read() {
    let ec = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"], b"");
    let p384 = openssl(&["ecparam", "-name", "secp384r1", "-genkey", "-noout"], b"");
    let rsa = openssl(&["genrsa", "2048"], b"");
    let traditional = openssl(&["rsa", "-traditional"], &rsa);
    let pkcs8 = openssl(&["pkcs8", "-topk8", "-nocrypt"], &ec);
    for (pem, begin, algorithm) in [
        (&ec, "-----BEGIN EC PRIVATE KEY", &rcgen::PKCS_ECDSA_P256_SHA256),
        (&p384, "-----BEGIN EC PRIVATE KEY", &rcgen::PKCS_ECDSA_P384_SHA384),
        (&pkcs8, "-----BEGIN PRIVATE KEY", &rcgen::PKCS_ECDSA_P256_SHA256),
        (&rsa, "-----BEGIN PRIVATE KEY", &rcgen::PKCS_RSA_SHA256),
        (&traditional, "-----BEGIN RSA PRIVATE KEY", &rcgen::PKCS_RSA_SHA256),
    ] {
        assert!(pem.starts_with(begin.as_bytes()), "{begin}");
        let key = PrivateKey::from_pem(pem).expect("a key");
        assert_eq!(key.algorithm(), algorithm, "{begin}");
        assert_eq!(key.pem().as_bytes(), pem.as_slice());
        assert!(!key.sign(b"message").expect("signed").is_empty());
        assert!(!format!("{key:?}").contains("PRIVATE"), "it is not shown");
    }
    let weak = openssl(&["genrsa", "1024"], b"");
    assert!(matches!(PrivateKey::from_pem(&weak), Err(KeyError::Unsupported)));
    assert!(matches!(PrivateKey::from_pem(b"nothing"), Err(KeyError::Pem(_))));
}
