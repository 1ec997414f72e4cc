//! The same over the bridge, where writes are posted and their failures come late: a client in this thread, the
//! simulated disk in the server's. What SQLite took for written may not be; what it takes for committed must be.

use statik_bridge::native::Thread;
use statik_bridge::{ClientOptions, DiskHost};

use super::*;

type Served = Thread<DiskHost<SimDisk>>;

fn serve(faults: Faults) -> Served {
    Thread::spawn(move || {
        let disk = SimDisk::new(0);
        disk.set_faults(faults);
        DiskHost::in_memory(disk)
    })
}

fn connect(script: &Script, server: &Served) -> Result<Connection, Failed> {
    let client = Rc::new(server.client(ClientOptions::default())?);
    script.open_with(Rc::clone(&client) as _, client)
}

/// What survives a crash of the server's disk now, on a disk of this thread.
fn survivor(server: &Served, crash: Crash) -> SimDisk {
    let files = server.call(move |server| {
        let disk = server.host().0.crash(crash);
        let read = |path: String| {
            let file = disk.open(&path, Open::Existing).expect("it is listed");
            let mut bytes = vec![0; usize::try_from(file.len().expect("len")).expect("a small file")];
            file.read_at(0, &mut bytes).expect("read");
            (path, bytes)
        };
        disk.list().expect("list").into_iter().map(read).collect::<Vec<_>>()
    });
    let disk = SimDisk::new(0);
    for (path, bytes) in files {
        let file = disk.open(&path, Open::CreateNew).expect("a new disk");
        file.write_at(0, &bytes).and_then(|()| file.flush()).expect("no faults here");
    }
    disk
}

#[test]
fn a_crash_at_any_operation_behind_the_bridge_loses_nothing_acknowledged() {
    let seed = seed();
    for (name, script) in [("ledger", ledger()), ("attached", attached())] {
        let (states, operations) = script.in_peace();
        for at in 0..=operations {
            let server = serve(Faults { power_off_at: Some(at), ..Faults::default() });
            let acknowledged = connect(&script, &server).map_or(0, |db| script.run(&db, 0).0);
            let allowed = &states[acknowledged..states.len().min(acknowledged + 2)];
            for crash in [Crash::LoseAll, Crash::KeepAll, Crash::Seed(seed + at)] {
                let judge = survives(&script, &survivor(&server, crash), allowed, seed + at);
                judge.unwrap_or_else(|what| panic!("{name}, power off at {at}, {crash:?}: {what}"));
            }
        }
    }
}

#[test]
fn a_full_disk_behind_the_bridge_fails_one_transaction_and_harms_none() {
    for (name, script) in [("ledger", ledger()), ("shrinking", shrinking()), ("attached", attached())] {
        let (states, operations) = script.in_peace();
        let mut failures = 0;
        for at in 0..operations {
            let judge = full_behind(&script, &states, Faults { quota_at: Some(at), ..Faults::default() });
            failures += u64::from(judge.unwrap_or_else(|what| panic!("{name}, full from operation {at}: {what}")));
        }
        assert!(failures > operations / 8, "{name}: {failures} of {operations} runs met the quota");
    }
}

/// As `full`, with the disk behind the bridge.
fn full_behind(script: &Script, states: &[State], faults: Faults) -> Result<bool, String> {
    let server = serve(faults);
    let db = connect(script, &server).map_err(|error| format!("opening: {error}"))?;
    let (acknowledged, failed) = stopped_by_quota(script, &db, states)?;
    for crash in [Crash::LoseAll, Crash::KeepAll] {
        let found = recovered(script, &survivor(&server, crash))?;
        if found != states[acknowledged] {
            return Err(format!("after {crash:?} {found:?}, not {:?}", states[acknowledged]));
        }
    }
    server.call(|server| server.host().0.set_faults(Faults::default()));
    finish(script, db, acknowledged)?;
    let found = recovered(script, &survivor(&server, Crash::LoseAll))?;
    if found != states[states.len() - 1] {
        return Err(format!("in the end {found:?}, not {:?}", states[states.len() - 1]));
    }
    Ok(failed)
}
