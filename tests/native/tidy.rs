//! The house rules of the README's Architecture section, as tests over the checkout. A rule is a function over one
//! file; each has a test that it holds everywhere, and one that a planted violation does not slip by.
//!
//! It sees what git tracks or would track, so that build output and dependencies are nobody's business here. What the
//! compiler or clippy already refuses is left to them.

#[path = "tidy/source.rs"]
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use source::{Source, closing, is_word, words};

/// A line, from 1, and what is wrong with it.
type Found = (usize, String);
type Rule = fn(&Source) -> Vec<Found>;

/// Text longer than this says why in its header ("Long because: …").
const LONG_LINES: usize = 800;
const MAX_LINES: usize = 1500;
const MAX_FUNCTION_LINES: usize = 70;

/// The crates from left to right: each may name only what stands to its right.
const ORDER: [&[&str]; 6] =
    [&["runtime"], &["browser"], &["memory", "vfs", "sync", "sqlite"], &["store"], &["bridge"], &["disk"]];
/// The one exception.
const SIBLINGS: (&str, &str) = ("memory", "sqlite");

/// Source text that people write and read.
const WRITTEN: [&str; 10] = ["rs", "ts", "mts", "cts", "js", "mjs", "cjs", "css", "html", "sh"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the checkout").to_owned()
}

/// All text files of the checkout.
fn checkout() -> Vec<Source> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    let paths = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    let mut sources: Vec<Source> = paths
        .split_terminator('\0')
        .filter_map(|path| match std::fs::read(root().join(path)) {
            Ok(bytes) => Some((path, String::from_utf8(bytes).ok()?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None, // Deleted, but not yet in git.
            Err(error) => panic!("{path}: {error}"),
        })
        .map(|(path, text)| Source::new(path, &text))
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources.dedup_by(|a, b| a.path == b.path);
    assert!(sources.iter().any(|source| source.path == "tests/native/tidy.rs"), "git lists this checkout");
    sources
}

/// The contract of durability, a table in which each promise names the test that holds it.
const CONTRACT: &str = "crates/store/docs/durability.md";

/// The rows of the contract's promises whose last column is not the name of one of `tests`.
fn promises_without_a_test(contract: &str, tests: &[String]) -> Vec<String> {
    let is_numbered = |row: &&str| row.trim_start_matches("| ").starts_with(|first: char| first.is_ascii_digit());
    let test = |row: &str| row.rsplit('`').nth(1).map(str::to_owned);
    let held = |row: &&str| test(row).is_some_and(|test| tests.contains(&test));
    contract.lines().filter(is_numbered).filter(|row| !held(row)).map(str::to_owned).collect()
}

/// The names of all functions in Rust that are tests.
fn tests_in(sources: &[Source]) -> Vec<String> {
    let names = |source: &Source| {
        let lines: Vec<String> = source.code.lines().map(str::to_owned).collect();
        let is_test = move |line: usize| lines[..line - 1].last().is_some_and(|above| above.trim() == "#[test]");
        source.functions().into_iter().filter(|(_, at)| is_test(at.start)).map(|(name, _)| name).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| source.is_rust()).flat_map(names).collect()
}

/// Panics with every place of the checkout where the rule is broken.
fn hold(rule: Rule) {
    let report: Vec<String> = checkout()
        .iter()
        .flat_map(|source| rule(source).into_iter().map(|(line, what)| format!("{}:{line}: {what}", source.path)))
        .collect();
    assert!(report.is_empty(), "{} violations\n{}", report.len(), report.join("\n"));
}

/// The lines where the rule finds something in a planted file.
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).into_iter().map(|(line, _)| line).collect()
}

/// The crate that a path lies in.
fn room(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}

fn rank(room: &str) -> Option<usize> {
    ORDER.iter().position(|rooms| rooms.contains(&room))
}

/// A manifest's keys with their table, value and line: enough of TOML for the manifests that Cargo accepts here.
fn manifest(text: &str) -> Vec<(String, String, String, usize)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for (line, text) in text.lines().enumerate() {
        if let Some(name) = text.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = text.split_once('=') {
            keys.push((table.clone(), key.trim().to_owned(), value.trim().to_owned(), line + 1));
        }
    }
    keys
}

/// The dependencies that a manifest names, of whatever sort and for whatever target.
fn dependencies(text: &str) -> Vec<(String, usize)> {
    let name = |key: &str| key.split('.').next().expect("split gives one").trim_matches('"').to_owned();
    let mut found: Vec<_> = manifest(text)
        .into_iter()
        .filter(|(table, ..)| table.ends_with("dependencies"))
        .map(|(_, key, _, line)| (name(&key), line))
        .collect();
    found.extend(text.lines().enumerate().filter_map(|(line, text)| {
        let (_, key) = text.strip_prefix('[')?.split_once("dependencies.")?;
        Some((name(key.trim_end_matches(']')), line + 1))
    }));
    found
}

fn dependency_order(source: &Source) -> Vec<Found> {
    let Some(here) = room(&source.path).filter(|_| source.path.ends_with("/Cargo.toml")) else { return Vec::new() };
    let Some(at) = rank(here) else { return vec![(1, format!("{here} has no place in the order of crates"))] };
    let wrong = |name: &str| match name.strip_prefix("statik-") {
        Some(other) if (here, other) != SIBLINGS => rank(other).is_none_or(|other| other <= at),
        _ => false,
    };
    let said = |(name, line): (String, usize)| (line, format!("{here} stands at or right of {name}, and names it"));
    dependencies(&source.text).into_iter().filter(|(name, _)| wrong(name)).map(said).collect()
}

fn knows_javascript(source: &Source) -> bool {
    matches!(room(&source.path), Some("browser" | "runtime")) || source.path.starts_with("tests/browser/")
}

fn javascript_only_at_the_doors(source: &Source) -> Vec<Found> {
    if knows_javascript(source) {
        return Vec::new();
    }
    if source.path.ends_with("Cargo.toml") && source.path != "Cargo.toml" {
        let doors = ["web-sys", "js-sys", "wasm-bindgen", "wasm-bindgen-futures"];
        let wrong = dependencies(&source.text).into_iter().filter(|(name, _)| doors.contains(&name.as_str()));
        return wrong.map(|(name, line)| (line, format!("{name} belongs to browser and runtime"))).collect();
    }
    if !source.is_rust() {
        return Vec::new();
    }
    ["web_sys", "js_sys", "wasm_bindgen", "wasm_bindgen_futures", "JsValue"]
        .into_iter()
        .flat_map(|word| words(&source.code, word).map(move |at| (at, word)))
        .map(|(at, word)| (source.line(at), format!("`{word}` belongs to browser and runtime")))
        .collect()
}

/// Imports (`extern` blocks and what stands in them) are inbound, and none of this rule's business.
fn exports_only_in_runtime(source: &Source) -> Vec<Found> {
    // The browser tests export what their second worker runs.
    if !source.is_rust() || room(&source.path) == Some("runtime") || source.path.starts_with("tests/browser/") {
        return Vec::new();
    }
    let code = &source.code;
    let imports: Vec<_> = words(code, "extern")
        .filter_map(|at| {
            let block = code[at + "extern".len()..].trim_start();
            block.starts_with('{').then(|| at..closing(code, code.len() - block.len()))
        })
        .collect();
    let is_import = |at: usize| {
        let after = code[at..].find(']').map_or("", |end| code[at + end + 1..].trim_start());
        words(after, "extern").next() == Some(0) || imports.iter().any(|block| block.contains(&at))
    };
    words(code, "wasm_bindgen")
        .filter(|&at| code[..at].trim_end().ends_with("#[") && !is_import(at))
        .map(|at| (source.line(at), "exports to JavaScript belong to runtime".to_owned()))
        .collect()
}

fn unsafe_only_in_sqlite(source: &Source) -> Vec<Found> {
    if !source.is_rust() || room(&source.path) == Some("sqlite") {
        return Vec::new();
    }
    words(&source.code, "unsafe").map(|at| (source.line(at), "`unsafe` belongs to sqlite".to_owned())).collect()
}

/// The format documents that a file's charter names, as paths in the checkout.
fn format_documents(source: &Source) -> Vec<String> {
    let charter = source.text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
    let named = |at: usize| {
        let name: String = charter[at..].chars().take_while(|&c| is_word(c) || "-/.".contains(c)).collect();
        name.ends_with("-format.md").then(|| format!("crates/{}/{name}", room(&source.path).unwrap_or_default()))
    };
    words(&charter, "docs").filter_map(named).collect()
}

/// A file that declares the magic or the version of a byte format names the format's document in its charter; of
/// somebody else's format it gives the address.
fn formats_are_documented(source: &Source) -> Vec<Found> {
    let foreign = source.text.split_whitespace().any(|word| word.contains("https://") && word.contains("format"));
    if !source.is_rust() || room(&source.path).is_none() || foreign || !format_documents(source).is_empty() {
        return Vec::new();
    }
    let constant = |at: usize| {
        let name: String = source.code[at + "const".len()..].trim_start().chars().take_while(|&c| is_word(c)).collect();
        let declares = name.ends_with("MAGIC") || name.ends_with("FORMAT") || name.ends_with("FORMAT_VERSION");
        declares
            .then(|| (source.line(at), format!("{name} is of a format, whose docs/…-format.md the charter must name")))
    };
    words(&source.code, "const").filter_map(constant).collect()
}

fn a_format_document_has_its_parts(source: &Source) -> Vec<Found> {
    if !source.path.ends_with("-format.md") {
        return Vec::new();
    }
    let parts = [("```", "a diagram"), ("version", "a rule for versions")];
    let lacks = |(part, _): &(&str, &str)| !source.text.to_lowercase().contains(part);
    parts.into_iter().filter(lacks).map(|(_, what)| (1, format!("lacks {what}"))).collect()
}

fn files_are_short(source: &Source) -> Vec<Found> {
    if !WRITTEN.contains(&source.extension()) && source.extension() != "md" {
        return Vec::new();
    }
    let count = source.text.lines().count();
    let reasoned = source.text.lines().take(40).any(|line| line.contains("Long because: "));
    if count > MAX_LINES || (count > LONG_LINES && !reasoned) {
        return vec![(1, format!("{count} lines; over {LONG_LINES} need a reason, over {MAX_LINES} there is none"))];
    }
    Vec::new()
}

fn functions_are_short(source: &Source) -> Vec<Found> {
    if !source.is_rust() && !source.is_script() {
        return Vec::new();
    }
    source
        .functions()
        .into_iter()
        .filter(|(_, lines)| lines.len() > MAX_FUNCTION_LINES)
        .map(|(name, lines)| (lines.start, format!("`{name}` has {} lines, over {MAX_FUNCTION_LINES}", lines.len())))
        .collect()
}

fn files_open_with_a_charter(source: &Source) -> Vec<Found> {
    let comment = match source.extension() {
        "rs" => "//!",
        "html" => "<!--",
        "sh" => "#",
        _ => "/",
    };
    let first = source.text.lines().map(str::trim).find(|line| {
        !line.is_empty()
            && !line.starts_with("#!")
            && !line.starts_with("///")
            && !line.contains("@ts-")
            && !line.to_lowercase().starts_with("<!doctype")
    });
    if !WRITTEN.contains(&source.extension()) || first.is_some_and(|line| line.starts_with(comment)) {
        return Vec::new();
    }
    vec![(1, "opens without a charter: what it is, its invariants, what it does not do".to_owned())]
}

/// Promises name the issue that keeps them, as in `TODO(#12)`.
fn promises_have_an_issue(source: &Source) -> Vec<Found> {
    let numbered =
        |after: &str| after.strip_prefix("(#").is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()));
    [concat!("TO", "DO"), concat!("FIX", "ME")]
        .into_iter()
        .flat_map(|word| words(&source.text, word).map(move |at| (at, word)))
        .filter(|(at, word)| !numbered(&source.text[at + word.len()..]))
        .map(|(at, word)| (source.text[..at].matches('\n').count() + 1, format!("a {word} without an issue")))
        .collect()
}

/// What a person's debugging, or a person's machine, left behind.
fn nothing_is_left_behind(source: &Source) -> Vec<Found> {
    let machines = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let outside = |text: &str, at: usize| !text[..at].ends_with(|c| is_word(c) || "./-*".contains(c));
    let mut found: Vec<Found> = machines
        .into_iter()
        .flat_map(|path| source.text.match_indices(path))
        .filter(|(at, _)| outside(&source.text, *at))
        .map(|(at, path)| (source.text[..at].matches('\n').count() + 1, format!("{path}… is of one machine")))
        .collect();
    let is_library = ["crates/", "web/", "worker/"].iter().any(|place| source.path.starts_with(place));
    // A crate's own tests tell their seeds.
    let is_library = is_library && !(source.path.starts_with("crates/") && source.path.contains("/tests/"));
    // Scripts talk to a terminal; the SDK's log, by its verbosity option, to the console.
    let talks: &[&str] = match source.extension() {
        "rs" if is_library => &["dbg!", "println!", "eprintln!", "print!", "eprint!"],
        "rs" => &["dbg!"],
        _ if source.is_script() && is_library && !source.text.contains("verbosity") => {
            &["console.log", "console.debug", "console.info", "debugger"]
        }
        _ => &[],
    };
    let talk = talks.iter().flat_map(|word| source.code.match_indices(word));
    found.extend(
        talk.filter(|(at, _)| outside(&source.code, *at)).map(|(at, word)| (source.line(at), format!("`{word}`"))),
    );
    found
}

fn no_test_is_switched_off(source: &Source) -> Vec<Found> {
    let switches: &[&str] = match source.extension() {
        "rs" => &["#[ignore"],
        _ if source.is_script() => {
            &["test.skip(", "it.skip(", "describe.skip(", "test.only(", "it.only(", "describe.only("]
        }
        _ => &[],
    };
    let found = switches.iter().flat_map(|switch| source.code.match_indices(switch));
    found.map(|(at, switch)| (source.line(at), format!("`{switch}` leaves tests out"))).collect()
}

/// A name that says nothing hides that its file is about nothing in particular.
fn names_say_what(source: &Source) -> Vec<Found> {
    const NOTHING: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let vague = source.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
    vague.filter(|part| NOTHING.contains(part)).map(|part| (1, format!("{part:?} does not say what it is"))).collect()
}

/// Crates carry the prefix and the house's licence.
fn packages_are_ours(source: &Source) -> Vec<Found> {
    let Some(here) = room(&source.path).filter(|_| source.path.ends_with("/Cargo.toml")) else { return Vec::new() };
    let keys = manifest(&source.text);
    let has = |key: &str, value: &str| keys.iter().any(|(table, k, v, _)| table == "package" && k == key && v == value);
    let mut found = Vec::new();
    if !has("name", &format!("\"statik-{here}\"")) {
        found.push((1, format!("the package is not named statik-{here}")));
    }
    if !has("license.workspace", "true") {
        found.push((1, "the licence is not the workspace's".to_owned()));
    }
    found
}

mod holds {
    //! The rules, held against the checkout.

    use super::*;

    #[test]
    fn every_promise_names_its_test() {
        let sources = checkout();
        let contract = sources.iter().find(|source| source.path == CONTRACT).expect("there is a contract");
        assert_eq!(promises_without_a_test(&contract.text, &tests_in(&sources)), Vec::<String>::new());
    }

    #[test]
    fn crates_name_only_what_stands_to_their_right() {
        hold(dependency_order);
    }

    #[test]
    fn only_browser_and_runtime_know_javascript() {
        hold(javascript_only_at_the_doors);
    }

    #[test]
    fn only_runtime_exports() {
        hold(exports_only_in_runtime);
    }

    #[test]
    fn only_sqlite_is_unsafe() {
        hold(unsafe_only_in_sqlite);
    }

    #[test]
    fn every_format_has_a_document() {
        hold(formats_are_documented);
        hold(a_format_document_has_its_parts);
        let sources = checkout();
        let there = |path: &str| sources.iter().any(|source| source.path == path);
        for source in &sources {
            for document in format_documents(source) {
                assert!(there(&document), "{} names {document}, which is not there", source.path);
            }
        }
        assert!(there("crates/bridge/docs/ring-format.md"), "the ring's format is not documented");
    }

    #[test]
    fn files_and_functions_are_short() {
        hold(files_are_short);
        hold(functions_are_short);
    }

    #[test]
    fn every_file_opens_with_a_charter() {
        hold(files_open_with_a_charter);
    }

    #[test]
    fn nothing_is_promised_or_left_behind() {
        hold(promises_have_an_issue);
        hold(nothing_is_left_behind);
    }

    #[test]
    fn every_name_says_something() {
        hold(names_say_what);
    }

    #[test]
    fn every_test_runs() {
        hold(no_test_is_switched_off);
    }

    #[test]
    fn the_licence_is_one() {
        hold(packages_are_ours);
        let sources = checkout();
        let text = |path: &str| {
            let source = sources.iter().find(|source| source.path == path);
            source.unwrap_or_else(|| panic!("{path} is not there")).text.as_str()
        };
        let both = "MIT OR Apache-2.0";
        assert!(text("Cargo.toml").contains(&format!("license = \"{both}\"")));
        assert!(text("package.json").contains(&format!("\"license\": \"{both}\"")));
        assert!(text("LICENSE-MIT").contains("Permission is hereby granted, free of charge"));
        assert!(text("LICENSE-APACHE").contains("Version 2.0, January 2004"));
    }
}

mod catches {
    //! That each rule catches what it is for, and lets pass what it must.

    use super::*;

    #[test]
    fn crates_that_look_left() {
        let path = "crates/bridge/Cargo.toml";
        assert_eq!(lines(dependency_order, path, "[dependencies]\nstatik-disk.workspace = true\n"), []);
        assert_eq!(lines(dependency_order, path, "[dependencies]\nstatik-sqlite.workspace = true\n"), [2]);
        assert_eq!(lines(dependency_order, path, "[dev-dependencies]\nstatik-bridge = { path = \".\" }\n"), [2]);
        assert_eq!(lines(dependency_order, path, "[target.'cfg(wasm)'.dependencies.statik-runtime]\n"), [1]);
        assert_eq!(lines(dependency_order, path, "[dependencies]\nstatik-unheard = \"1\"\n"), [2]);
        assert_eq!(lines(dependency_order, "crates/unheard/Cargo.toml", ""), [1]);
        let sqlite = "[dependencies]\nstatik-sqlite = \"1\"\n";
        assert_eq!(lines(dependency_order, "crates/memory/Cargo.toml", sqlite), []);
        assert_eq!(lines(dependency_order, "crates/sync/Cargo.toml", sqlite), [2]);
    }

    #[test]
    fn javascript_behind_the_doors() {
        let rule = javascript_only_at_the_doors;
        let text = "//! web_sys\nuse web_sys::File;\nfn a(b: JsValue) { \"js_sys\" }\nuse wasm_bindgen_test::x;\n";
        assert_eq!(lines(rule, "crates/sqlite/src/a.rs", text), [2, 3]);
        assert_eq!(lines(rule, "tests/native/a.rs", text), [2, 3]);
        assert_eq!(lines(rule, "crates/browser/src/a.rs", text), []);
        assert_eq!(lines(rule, "crates/runtime/src/a.rs", text), []);
        let text = "[dependencies]\njs-sys.workspace = true\nwasm-bindgen-test = \"0.3\"\n";
        assert_eq!(lines(rule, "crates/bridge/Cargo.toml", text), [2]);
        assert_eq!(lines(rule, "crates/browser/Cargo.toml", text), []);
    }

    #[test]
    fn exports_outside_runtime() {
        let text = "#[wasm_bindgen]\nextern \"C\" {\n#[wasm_bindgen(method)]\nfn a();\n}\n\
                    #[wasm_bindgen(js_name = b)]\npub fn b() {}\n#[wasm_bindgen_test]\nfn c() {}\n\
                    #[wasm_bindgen]\npub struct D;\nextern crate e;\n";
        assert_eq!(lines(exports_only_in_runtime, "crates/browser/src/a.rs", text), [6, 10]);
        assert_eq!(lines(exports_only_in_runtime, "crates/runtime/src/a.rs", text), []);
    }

    #[test]
    fn unsafe_outside_sqlite() {
        let text = "#![deny(unsafe_code)]\n// unsafe\nfn a() { unsafe { b() } }\nunsafe impl Send for C {}\n";
        assert_eq!(lines(unsafe_only_in_sqlite, "crates/bridge/src/a.rs", text), [3, 4]);
        assert_eq!(lines(unsafe_only_in_sqlite, "tests/native/a.rs", text), [3, 4]);
        assert_eq!(lines(unsafe_only_in_sqlite, "crates/sqlite/src/a.rs", text), []);
    }

    #[test]
    fn undocumented_formats() {
        let text = "//! A log, as `docs/log-format.md` says.\nconst LOG_MAGIC: u32 = 1;\n";
        assert_eq!(lines(formats_are_documented, "crates/store/src/a.rs", text), []);
        assert_eq!(format_documents(&Source::new("crates/store/src/a.rs", text)), ["crates/store/docs/log-format.md"]);
        for declaration in ["const MAGIC: u32 = 1;", "pub const FORMAT_VERSION: u8 = 2;"] {
            let text = format!("//! A log.\n{declaration}\n");
            assert_eq!(lines(formats_are_documented, "crates/store/src/a.rs", &text), [2]);
        }
        let foreign = "//! A log.\n/// <https://sqlite.org/fileformat2.html>\nconst MAGIC: u32 = 1;\n";
        assert_eq!(lines(formats_are_documented, "crates/store/src/a.rs", foreign), []);
        let document = "crates/store/docs/log-format.md";
        assert_eq!(lines(a_format_document_has_its_parts, document, "# Log\n```\n|a|\n```\n## Version\n"), []);
        assert_eq!(lines(a_format_document_has_its_parts, document, "# Log\n## Version\n"), [1]);
        assert_eq!(lines(a_format_document_has_its_parts, document, "# Log\n"), [1, 1]);
    }

    #[test]
    fn long_files() {
        let file = |count: usize, header: &str| format!("//! {header}\n{}", "x\n".repeat(count - 1));
        for (count, header, found) in [
            (800, "Short.", vec![]),
            (801, "Short.", vec![1]),
            (801, "Long because: it is one table.", vec![]),
            (1500, "Long because: it is one table.", vec![]),
            (1501, "Long because: it is one table.", vec![1]),
        ] {
            assert_eq!(lines(files_are_short, "a.rs", &file(count, header)), found, "{count} lines");
            assert_eq!(lines(files_are_short, "a.lock", &file(count, header)), []);
        }
    }

    #[test]
    fn long_functions() {
        for (count, found) in [(70, vec![]), (71, vec![2])] {
            let inside = "x;\n".repeat(count - 2);
            assert_eq!(lines(functions_are_short, "a.rs", &format!("\nfn a() {{\n{inside}}}\n")), found);
            assert_eq!(
                lines(functions_are_short, "a.ts", &format!("\nasync a(): Promise<void> {{\n{inside}}}\n")),
                found
            );
        }
    }

    #[test]
    fn files_without_a_charter() {
        let rule = files_open_with_a_charter;
        for (path, good, bad) in [
            ("a.rs", "//! A.\nuse b;", "use b;\n//! A."),
            ("a.rs", "//! A.", "/// B.\nfn b() {}"),
            ("a.ts", "/** A. */", "import 'b';"),
            ("a.mjs", "#!/usr/bin/env node\n// A.", "#!/usr/bin/env node\nb();"),
            ("a.css", "/* A. */", "b {}"),
            ("a.html", "<!doctype html>\n<!-- A. -->", "<!doctype html>\n<html>"),
            ("a.sh", "#!/bin/sh\n# A.", "#!/bin/sh\nb"),
        ] {
            assert_eq!(lines(rule, path, good), [], "{path}");
            assert_eq!(lines(rule, path, bad), [1], "{path}");
            assert_eq!(lines(rule, path, ""), [1], "{path}");
        }
        assert_eq!(lines(rule, "a.json", "{}"), []);
    }

    #[test]
    fn promises_without_an_issue() {
        let text = ["// TO", "DO: a\n// TO", "DO(#7): b\n// FIX", "ME c\n// TO", "DO(me)\n// TO", "DOS"].concat();
        assert_eq!(lines(promises_have_an_issue, "a.rs", &text), [1, 4, 3]);
    }

    #[test]
    fn leftovers() {
        let rule = nothing_is_left_behind;
        let machine = ["a\n\"/ho", "me/b\"\nhttps://c.d/ro", "ot/e\n/wo", "rk/main\n"].concat();
        assert_eq!(lines(rule, "README.md", &machine), [2, 4]);
        let rust = "dbg!(a);\n// dbg!(a)\nprintln!();\n";
        assert_eq!(lines(rule, "crates/disk/src/a.rs", rust), [1, 3]);
        assert_eq!(lines(rule, "tests/native/a.rs", rust), [1]);
        assert_eq!(lines(rule, "crates/disk/tests/a.rs", rust), [1]);
        let script = "console.log(a);\n// console.log(a)\nconsole.error(a);\ndebugger\n";
        assert_eq!(lines(rule, "web/sdk/src/a.ts", script), [1, 4]);
        assert_eq!(lines(rule, "web/sdk/src/a.ts", &format!("{script}if (verbosity > 1) b();")), []);
        assert_eq!(lines(rule, "scripts/a.mjs", script), []);
    }

    #[test]
    fn tests_that_are_switched_off() {
        assert_eq!(lines(no_test_is_switched_off, "a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"), [2]);
        assert_eq!(lines(no_test_is_switched_off, "a.mjs", "test.only('a', b);\ntest('test.skip(', b);\n"), [1]);
    }

    #[test]
    fn names_that_say_nothing() {
        assert_eq!(lines(names_say_what, "crates/disk/src/utils.rs", ""), [1]);
        assert_eq!(lines(names_say_what, "crates/common/src/lib.rs", ""), [1]);
        assert_eq!(lines(names_say_what, "crates/disk/src/utility_bill.rs", ""), []);
    }

    #[test]
    fn promises_that_nothing_holds() {
        let source = Source::new("a.rs", "#[test]\nfn it_is_kept() {\n}\nfn helper() {\n}\n");
        let tests = tests_in(&[source]);
        assert_eq!(tests, ["it_is_kept"]);
        let rows =
            ["| 1 | Kept | `it_is_kept` |", "| 2 | `x` not | `helper` |", "| 3 | Nothing |", "| a | no promise |"];
        assert_eq!(promises_without_a_test(&rows.join("\n"), &tests), rows[1..3]);
    }

    #[test]
    fn packages_of_somebody_else() {
        let good = "[package]\nname = \"statik-disk\"\nlicense.workspace = true\n";
        assert_eq!(lines(packages_are_ours, "crates/disk/Cargo.toml", good), []);
        assert_eq!(lines(packages_are_ours, "crates/bridge/Cargo.toml", good), [1]);
        assert_eq!(lines(packages_are_ours, "crates/disk/Cargo.toml", "[package]\nname = \"disk\"\n"), [1, 1]);
    }
}
