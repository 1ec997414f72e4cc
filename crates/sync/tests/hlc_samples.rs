//! What a clock answers, call by call, against the samples that the clock in TypeScript has to answer, too.

use serde_json::Value;
use statik_disk::{Kind, Result};
use statik_sync::hlc::{Clock, Timestamp};

const SAMPLES: &str = include_str!("../../../tests/sdk/samples/hlc.json");

fn samples() -> Value {
    serde_json::from_str(SAMPLES).expect("the samples are JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is a list"))
}

fn stamp(text: &Value) -> Timestamp {
    text.as_str().expect("a stamp is text").parse().expect("a stamp")
}

fn node(value: &Value) -> u64 {
    u64::from_str_radix(value["node"].as_str().expect("a node is text"), 16).expect("a node is hexadecimal")
}

/// The call that a step is, and what it answers.
fn act(clock: &mut Clock, step: &Value) -> Result<Option<Timestamp>> {
    if let Some(now_ms) = step["tick"].as_u64() {
        clock.tick(now_ms).map(Some)
    } else if !step["receive"].is_null() {
        clock.receive(step["now"].as_u64().expect("a time"), stamp(&step["receive"])).map(Some)
    } else {
        clock.restore(stamp(&step["restore"]));
        Ok(None)
    }
}

#[test]
fn stamps_are_read_and_written() {
    let samples = samples();
    for sample in list(&samples, "format") {
        let number = |name: &str| sample[name].as_u64().expect("a number");
        let counter = u16::try_from(number("counter")).expect("16 bits");
        let parts = Timestamp::new(number("wallMs"), counter, node(sample)).expect("48 bits");
        assert_eq!(stamp(&sample["text"]), parts);
        assert_eq!(Value::from(parts.to_string()), sample["text"]);
    }
    for text in list(&samples, "refused") {
        let read = text.as_str().expect("text").parse::<Timestamp>();
        assert_eq!(read.map_err(|error| error.kind()), Err(Kind::Invalid), "{text}");
    }
    let order: Vec<Timestamp> = list(&samples, "order").iter().map(stamp).collect();
    assert!(order.is_sorted());
}

#[test]
fn clocks_answer_as_the_samples_say() {
    let samples = samples();
    for sample in list(&samples, "clocks") {
        let mut clock = Clock::new(node(sample));
        if let Some(max_drift_ms) = sample["maxDriftMs"].as_u64() {
            clock = clock.with_max_drift_ms(max_drift_ms);
        }
        for step in list(sample, "steps") {
            let before = clock.last();
            let case = format!("{}: {step}", sample["name"]);
            match act(&mut clock, step) {
                Ok(given) => {
                    assert_eq!(given.map_or(Value::Null, |given| given.to_string().into()), step["gives"], "{case}");
                    let last = if step["last"].is_null() { &step["gives"] } else { &step["last"] };
                    assert_eq!(clock.last(), stamp(last), "{case}");
                }
                Err(error) => {
                    assert_eq!(Value::from(format!("{:?}", error.kind())), step["fails"], "{case}");
                    assert_eq!(clock.last(), before, "{case}");
                }
            }
        }
    }
}
