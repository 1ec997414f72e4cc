//! Sealing: what another implementation sealed is opened, and sealed to the same bytes; whatever is not exactly what
//! was sealed, where it was sealed, under a key that is here, is refused.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use statik_disk::{Error, Kind, Result};
use statik_store::seal::{Context, KEY_BYTES, Keyring, Names, OVERHEAD_BYTES, Seal, check, key_id};

const SAMPLE: &str = include_str!("sealed-v1.txt");

const CONTEXT: Context<'static> = Context { store: "notes", key: b"monday", version: 1 };
const OLD: [u8; KEY_BYTES] = [1; KEY_BYTES];
const NEW: [u8; KEY_BYTES] = [2; KEY_BYTES];

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        let length = self.next() as usize % below;
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Random bytes that follow from a seed.
fn random(seed: u64) -> impl FnMut(&mut [u8]) -> Result<()> {
    let mut numbers = Numbers(seed);
    move |bytes| {
        bytes.iter_mut().for_each(|byte| *byte = numbers.next() as u8);
        Ok(())
    }
}

fn keyring(current: [u8; KEY_BYTES], older: &[[u8; KEY_BYTES]]) -> Keyring {
    Keyring::new(&current, older, random(1)).expect("the keys differ")
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

/// A block of the sample.
struct Block(BTreeMap<&'static str, &'static str>);

impl Block {
    fn all() -> Vec<Block> {
        let field = |line: &'static str| line.split_once(' ').unwrap_or((line, ""));
        let block = |text: &'static str| Block(text.lines().filter(|line| !line.starts_with('#')).map(field).collect());
        SAMPLE.split("\n\n").map(block).filter(|block| !block.0.is_empty()).collect()
    }

    /// Those that have this field.
    fn with(name: &str) -> Vec<Block> {
        let found: Vec<Block> = Block::all().into_iter().filter(|block| block.0.contains_key(name)).collect();
        assert!(!found.is_empty(), "the sample has no {name}");
        found
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let digit = |digit: u8| (digit as char).to_digit(16).expect("hexadecimal") as u8;
        let digits = self.0[name].as_bytes().chunks_exact(2);
        digits.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn key(&self, name: &str) -> [u8; KEY_BYTES] {
        self.bytes(name).try_into().expect("a key is 32 bytes")
    }

    fn store(&self) -> String {
        String::from_utf8(self.bytes("store")).expect("a store's name is UTF-8")
    }
}

#[test]
fn the_frozen_sample_is_opened_and_sealed_again() {
    for block in Block::with("sealed") {
        let (store, key) = (block.store(), block.bytes("key"));
        let version = block.0["version"].parse().expect("a number");
        let context = Context { store: &store, key: &key, version };
        let (plain, sealed) = (block.bytes("plain"), block.bytes("sealed"));
        let nonce = sealed[8..32].to_vec();
        let random = move |bytes: &mut [u8]| {
            bytes.copy_from_slice(&nonce);
            Ok(())
        };
        let keyring = Keyring::new(&block.key("data-key"), &[], random).expect("one key");
        assert_eq!(keyring.open(context, &sealed), Ok(plain.clone()));
        assert_eq!(keyring.seal(context, &plain), Ok(sealed));
    }
    for block in Block::with("check") {
        let found = check(&block.key("data-key"));
        assert_eq!(found.to_vec(), block.bytes("check"));
        assert_eq!(key_id(&block.key("data-key")).to_le_bytes(), found[..4]);
    }
    for block in Block::with("blind") {
        let names = Names::new(&block.key("names-key"));
        assert_eq!(names.blind(&block.store(), &block.bytes("name")).to_vec(), block.bytes("blind"));
    }
}

#[test]
fn every_length_comes_back() {
    let keyring: Box<dyn Seal> = Box::new(keyring(NEW, &[]));
    let plain: Vec<u8> = (0..=255).cycle().take(700).collect();
    for length in (0..200).chain([255, 256, 257, 511, 512, 513, 700]) {
        let sealed = keyring.seal(CONTEXT, &plain[..length]).expect("it is sealed");
        assert_eq!(sealed.len(), length + OVERHEAD_BYTES);
        assert_eq!(keyring.open(CONTEXT, &sealed), Ok(plain[..length].to_vec()));
    }
}

#[test]
fn it_opens_in_its_own_context_alone() {
    let keyring = keyring(NEW, &[]);
    let contexts = [
        CONTEXT,
        Context { store: "diary", ..CONTEXT },
        Context { key: b"tuesday", ..CONTEXT },
        Context { version: 2, ..CONTEXT },
        Context { version: 1 << 24, ..CONTEXT },
        // The same bytes in other fields.
        Context { store: "notesmonday", key: b"", ..CONTEXT },
        Context { store: "", key: b"notesmonday", ..CONTEXT },
        Context { store: "note", key: b"smonday", ..CONTEXT },
        Context { store: "notes", key: b"\x06\0\0\0\0\0\0\0monday", ..CONTEXT },
        Context { store: "notes\x06\0\0\0\0\0\0\0monday", key: b"", ..CONTEXT },
        Context { store: "notes\0", ..CONTEXT },
        Context { key: b"monday\0", ..CONTEXT },
    ];
    for (at, here) in contexts.into_iter().enumerate() {
        let sealed = keyring.seal(here, b"buy milk").expect("it is sealed");
        for (other, there) in contexts.into_iter().enumerate() {
            let expected = (at != other).then_some(Kind::Corrupt);
            assert_eq!(kind(keyring.open(there, &sealed)), expected, "{here:?} opened as {there:?}");
        }
    }
}

#[test]
fn whatever_is_changed_is_refused() {
    let keyring = keyring(NEW, &[OLD]);
    let sealed = keyring.seal(CONTEXT, b"buy milk, and some bread").expect("it is sealed");
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            3 => Kind::Unsupported,
            4..8 => Kind::Permission,
            _ => Kind::Corrupt,
        };
        assert_eq!(kind(keyring.open(CONTEXT, &changed)), Some(expected), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert_eq!(kind(keyring.open(CONTEXT, &sealed[..length])), Some(Kind::Corrupt), "the first {length} bytes");
        let longer = [&sealed[..], &sealed[..=length]].concat();
        assert_eq!(kind(keyring.open(CONTEXT, &longer)), Some(Kind::Corrupt), "{length} bytes too many");
    }
    let other = keyring.seal(CONTEXT, b"buy milk, and some bread").expect("it is sealed");
    for cut in 9..sealed.len() {
        let mixed = [&sealed[..cut], &other[cut..]].concat();
        assert_eq!(kind(keyring.open(CONTEXT, &mixed)), Some(Kind::Corrupt), "two records, cut at {cut}");
    }
}

#[test]
fn whatever_came_from_elsewhere_is_refused() {
    let seed = std::env::var("STATIK_SEED").map_or(20_251_128, |seed| seed.parse().expect("STATIK_SEED is a number"));
    println!("STATIK_SEED={seed}");
    let mut numbers = Numbers(seed);
    let keyring = keyring(NEW, &[OLD]);
    for turn in 0..20_000 {
        let mut bytes = numbers.bytes(300);
        // Further in than chance would get: what a header begins with, and the id of one of the keys.
        let start = [&b"SEL\x01"[..], &key_id(if turn % 2 == 0 { &OLD } else { &NEW }).to_le_bytes()].concat();
        let kept = numbers.next() as usize % (start.len() + 1);
        let kept = kept.min(bytes.len());
        bytes[..kept].copy_from_slice(&start[..kept]);
        let version = numbers.next() as u32;
        let (key, store) = (numbers.bytes(50), String::from_utf8_lossy(&numbers.bytes(20)).into_owned());
        let context = Context { store: &store, key: &key, version };
        for result in [keyring.open(context, &bytes).map(Some), keyring.reseal(context, &bytes)] {
            let refused =
                [Kind::Corrupt, Kind::Unsupported, Kind::Permission].map(Some).contains(&kind(result.clone()));
            // What names the current key is not looked into by `reseal`.
            assert!(refused || result == Ok(None), "{bytes:?} as {context:?}: {result:?}");
        }
    }
}

#[test]
fn a_key_that_is_not_here_is_told_from_damage() {
    let sealed = keyring(OLD, &[]).seal(CONTEXT, b"buy milk").expect("it is sealed");
    let error = keyring(NEW, &[]).open(CONTEXT, &sealed).expect_err("the key is another");
    assert_eq!(error.kind(), Kind::Permission);
    let (old, new) = (key_id(&OLD), key_id(&NEW));
    let said = format!(
        "opening record \"monday\" of store \"notes\", version 1: it names the data key {old:08x}; here are {new:08x}"
    );
    assert_eq!(error.context(), said);
    assert_eq!(keyring(NEW, &[OLD]).open(CONTEXT, &sealed), Ok(b"buy milk".to_vec()));
    // A record that says it were another key's.
    let renamed = [&sealed[..4], &new.to_le_bytes(), &sealed[8..]].concat();
    assert_eq!(kind(keyring(NEW, &[OLD]).open(CONTEXT, &renamed)), Some(Kind::Corrupt));
}

#[test]
fn the_current_key_seals_and_older_ones_are_replaced() {
    let before = keyring(OLD, &[]).seal(CONTEXT, b"buy milk").expect("it is sealed");
    let keyring = keyring(NEW, &[OLD]);
    assert_eq!(keyring.current(), key_id(&NEW));
    let after = keyring.reseal(CONTEXT, &before).expect("it opens").expect("it was not current");
    assert_eq!(keyring.reseal(CONTEXT, &after), Ok(None));
    let new = Keyring::new(&NEW, &[], random(2)).expect("one key");
    assert_eq!(new.open(CONTEXT, &after), Ok(b"buy milk".to_vec()));
    let elsewhere = Context { key: b"tuesday", ..CONTEXT };
    assert_eq!(kind(keyring.reseal(elsewhere, &before)), Some(Kind::Corrupt));
    assert_eq!(kind(Keyring::new(&NEW, &[OLD, NEW], random(1))), Some(Kind::Invalid));
}

#[test]
fn no_nonce_comes_twice() {
    let keyring = keyring(NEW, &[]);
    let seal = |_| keyring.seal(CONTEXT, b"buy milk").expect("it is sealed");
    let sealed: Vec<Vec<u8>> = (0..1000).map(seal).collect();
    let nonces: HashSet<&[u8]> = sealed.iter().map(|sealed| &sealed[8..32]).collect();
    let texts: HashSet<&[u8]> = sealed.iter().map(|sealed| &sealed[32..]).collect();
    assert_eq!((nonces.len(), texts.len()), (1000, 1000));
}

#[test]
fn without_random_bytes_nothing_is_sealed() {
    let asked = Rc::new(Cell::new(0));
    let counter = asked.clone();
    let random = move |bytes: &mut [u8]| {
        counter.set(counter.get() + bytes.len());
        Err(Error::new(Kind::Io, "drawing random bytes"))
    };
    let keyring = Keyring::new(&NEW, &[], random).expect("one key");
    assert_eq!(kind(keyring.seal(CONTEXT, b"buy milk")), Some(Kind::Io));
    assert_eq!(asked.get(), 24);
}

#[test]
fn a_long_key_is_told_in_part() {
    let key = vec![b'k'; 1 << 16];
    let context = Context { key: &key, ..CONTEXT };
    let error = keyring(NEW, &[]).open(context, b"").expect_err("nothing is not sealed");
    assert!(error.context().len() < 200, "{error}");
    assert!(error.context().contains("kkk…\""), "{error}");
}

#[test]
fn a_blind_name_is_the_same_for_ever_and_another_in_each_store() {
    let names = Names::new(&OLD);
    assert_eq!(names.blind("notes", b"monday"), Names::new(&OLD).blind("notes", b"monday"));
    let blind: HashSet<_> = [
        names.blind("notes", b"monday"),
        names.blind("diary", b"monday"),
        names.blind("notesmonday", b""),
        names.blind("note", b"smonday"),
        names.blind("", b"notesmonday"),
        names.blind("notes", b"tuesday"),
        Names::new(&NEW).blind("notes", b"monday"),
    ]
    .into();
    assert_eq!(blind.len(), 7);
}
