//! XAES-256-GCM, by C2SP (<https://c2sp.org/XAES-256-GCM>): AES-256-GCM with nonces of 192 bits, long enough to be
//! drawn at random. Key and nonce of AES-256-GCM follow from the key and the nonce by the KDF of NIST SP 800-108 with
//! AES-CMAC.
//!
//! Invariant: the vectors that C2SP publishes come out of it.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use super::KEY_BYTES;

pub(super) const NONCE_BYTES: usize = 24;
pub(super) const TAG_BYTES: usize = 16;
/// So much of the nonce goes into the key, the rest is the nonce of AES-256-GCM.
const KDF_NONCE_BYTES: usize = 12;

pub(super) struct Xaes256Gcm {
    cipher: Aes256,
    /// CMAC's subkey K1.
    k1: Zeroizing<[u8; 16]>,
}

impl Xaes256Gcm {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Xaes256Gcm {
        let cipher = Aes256::new(key.into());
        let mut zero = [0; 16].into();
        cipher.encrypt_block(&mut zero);
        let l = u128::from_be_bytes(zero.into());
        // Doubling in GF(2^128), without a branch on what is secret.
        let k1 = (l << 1) ^ (0x87 * (l >> 127));
        Xaes256Gcm { cipher, k1: Zeroizing::new(k1.to_be_bytes()) }
    }

    /// Encrypts in place; the tag, or `None` for more bytes than the algorithm takes.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let (gcm, nonce) = self.for_nonce(nonce);
        gcm.encrypt_inout_detached(&nonce.into(), associated, InOutBuf::from(bytes)).ok().map(Into::into)
    }

    /// Decrypts in place, if the tag is right; else `bytes` stays as it is.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        let (gcm, nonce) = self.for_nonce(nonce);
        gcm.decrypt_inout_detached(&nonce.into(), associated, InOutBuf::from(bytes), tag.into()).is_ok()
    }

    fn for_nonce(&self, nonce: &[u8; NONCE_BYTES]) -> (Aes256Gcm, [u8; 12]) {
        let (for_key, rest) = nonce.split_at(KDF_NONCE_BYTES);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (counter, half) in (1..).zip(key.chunks_exact_mut(16)) {
            half[..4].copy_from_slice(&[0, counter, b'X', 0]);
            half[4..].copy_from_slice(for_key);
            half.iter_mut().zip(self.k1.iter()).for_each(|(byte, k1)| *byte ^= k1);
            self.cipher.encrypt_block(half.try_into().expect("half a key is one block"));
        }
        (Aes256Gcm::new((&*key).into()), rest.try_into().expect("half a nonce is left"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shake::Shake128;
    use shake::digest::{ExtendableOutput, Update, XofReader};

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks_exact(2);
        digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).expect("hexadecimal")).collect()
    }

    fn encrypt(key: [u8; 32], nonce: &[u8; 24], associated: &[u8], plain: &[u8]) -> Vec<u8> {
        let xaes = Xaes256Gcm::new(&key);
        let mut bytes = plain.to_vec();
        let tag = xaes.encrypt(nonce, associated, &mut bytes).expect("it is short enough");
        let mut opened = bytes.clone();
        assert!(xaes.decrypt(nonce, associated, &mut opened, &tag));
        assert_eq!(opened, plain);
        bytes.extend(tag);
        bytes
    }

    #[test]
    fn the_vectors_of_c2sp() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let sealed = encrypt([1; 32], nonce, b"", b"XAES-256-GCM");
        assert_eq!(sealed, hex("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"));
        let sealed = encrypt([3; 32], nonce, b"c2sp.org/XAES-256-GCM", b"XAES-256-GCM");
        assert_eq!(sealed, hex("986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"));
    }

    #[test]
    fn the_ten_thousand_random_vectors_of_c2sp() {
        let mut random = Shake128::default().finalize_xof();
        let mut all = Shake128::default();
        for _ in 0..10_000 {
            let (mut key, mut nonce) = ([0; 32], [0; 24]);
            random.read(&mut key);
            random.read(&mut nonce);
            let mut field = || {
                let mut length = [0];
                random.read(&mut length);
                let mut bytes = vec![0; length[0].into()];
                random.read(&mut bytes);
                bytes
            };
            let (plain, associated) = (field(), field());
            all.update(&encrypt(key, &nonce, &associated, &plain));
        }
        let mut hash = [0; 32];
        all.finalize_xof().read(&mut hash);
        assert_eq!(hash.to_vec(), hex("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"));
    }

    /// Test cases 13 to 16 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", as submitted to NIST.
    #[test]
    fn the_vectors_of_aes_256_gcm() {
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
        let cipher = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                      8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
        let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let nonce = hex("cafebabefacedbaddecaf888");
        let vectors = [
            (vec![0; 32], vec![0; 12], &[][..], &[][..], "", "530f8afbc74536b9a963b4f1c4cb738b"),
            (
                vec![0; 32],
                vec![0; 12],
                &[0; 16][..],
                &[][..],
                "cea7403d4d606b6e074ec5d3baf39d18",
                "d0d1c8a799996bf0265b98b5d48ab919",
            ),
            (key.clone(), nonce.clone(), &plain[..], &[][..], cipher, "b094dac5d93471bdec1a502270e3cc6c"),
            (key, nonce, &plain[..60], &associated[..], &cipher[..120], "76fc6ece0f4e1768cddf8853bb2d551b"),
        ];
        for (key, nonce, plain, associated, cipher, tag) in vectors {
            let gcm = Aes256Gcm::new_from_slice(&key).expect("a key of 256 bits");
            let nonce: [u8; 12] = nonce.try_into().expect("a nonce of 96 bits");
            let mut bytes = plain.to_vec();
            let found = gcm.encrypt_inout_detached(&nonce.into(), associated, InOutBuf::from(&mut bytes[..]));
            assert_eq!(bytes, hex(cipher));
            assert_eq!(found.expect("it is short enough").to_vec(), hex(tag));
        }
    }
}
