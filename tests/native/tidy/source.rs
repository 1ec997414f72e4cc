//! One file of the checkout as the rules see it: its text, and its code with comments and literals blanked out, so
//! that a rule about code is not fooled by prose. It knows just enough of Rust and of JavaScript for that; a regular
//! expression in JavaScript is told from a division by what stands before it.

use std::ops::Range;

/// A file: path relative to the checkout, with `/`; text; and code, which has the same lines as the text.
pub struct Source {
    pub path: String,
    pub text: String,
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = match extension(path) {
            "rs" => blank(text, rust_literal),
            "ts" | "mts" | "cts" | "js" | "mjs" | "cjs" => blank(text, script_literal),
            _ => text.to_owned(),
        };
        Source { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub fn extension(&self) -> &str {
        extension(&self.path)
    }

    pub fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    pub fn is_script(&self) -> bool {
        matches!(self.extension(), "ts" | "mts" | "cts" | "js" | "mjs" | "cjs")
    }

    /// The number, from 1, of the line of `code` that the byte `at` lies in.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// The functions that have a body: name and lines, first and last included.
    pub fn functions(&self) -> Vec<(String, Range<usize>)> {
        if self.is_rust() { self.rust_functions() } else { self.script_functions() }
    }

    fn rust_functions(&self) -> Vec<(String, Range<usize>)> {
        let mut found = Vec::new();
        for at in words(&self.code, "fn") {
            let name: String = self.code[at + 2..].trim_start().chars().take_while(|c| is_word(*c)).collect();
            let open = body(&self.code[at..]).map(|open| at + open);
            if let (false, Some(open)) = (name.is_empty(), open) {
                found.push((name, self.line(at)..self.line(closing(&self.code, open)) + 1));
            }
        }
        found
    }

    /// Declarations, methods, and arrow functions that have a name. Callbacks count as part of what holds them.
    fn script_functions(&self) -> Vec<(String, Range<usize>)> {
        const BLOCKS: [&str; 11] =
            ["if", "for", "while", "switch", "catch", "else", "do", "try", "return", "await", "with"];
        let mut found = Vec::new();
        let mut start = 0;
        for line in self.code.split_inclusive('\n') {
            let end = start + line.trim_end().len();
            let head = line.trim().trim_start_matches("} ");
            let first: String = head.chars().take_while(|c| is_word(*c)).collect();
            let arrow = head.ends_with("=> {") && ["const", "let", "export"].contains(&first.as_str());
            let declares = head.contains("function ")
                || (head.contains('(') && head.contains(") {"))
                || (head.contains('(') && head.contains("): "));
            let callback = !arrow && head.contains("=>");
            if head.ends_with('{') && !callback && (arrow || declares) && !BLOCKS.contains(&first.as_str()) {
                found.push((head.to_owned(), self.line(start)..self.line(closing(&self.code, end - 1)) + 1));
            }
            start += line.len();
        }
        found
    }
}

fn extension(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension)
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands in `code` as a word of its own.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word))
}

/// Where the body of the function that `code` starts with opens, if it has one.
fn body(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ if depth < 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace that opens at `open` closes; the end of the code if it never does.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// A language's literals and comments: where the one that starts at a position ends, if one does.
type Literal = fn(&[char], usize) -> Option<usize>;

fn blank(text: &str, literal: Literal) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal(&chars, at).map_or(at, |end| end.min(chars.len()));
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

fn peek(chars: &[char], at: usize) -> char {
    chars.get(at).copied().unwrap_or('\0')
}

fn line_comment(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
}

/// The end of a literal that a `quote` closes and a backslash escapes in.
fn quoted(chars: &[char], mut at: usize, quote: char) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn rust_literal(chars: &[char], at: usize) -> Option<usize> {
    match (chars[at], peek(chars, at + 1)) {
        ('/', '/') => Some(line_comment(chars, at)),
        ('/', '*') => {
            let (mut depth, mut end) = (1, at + 2);
            while depth > 0 && end < chars.len() {
                match (chars[end], peek(chars, end + 1)) {
                    ('/', '*') => (depth, end) = (depth + 1, end + 2),
                    ('*', '/') => (depth, end) = (depth - 1, end + 2),
                    _ => end += 1,
                }
            }
            Some(end)
        }
        ('r', '"' | '#') if at == 0 || !is_word(chars[at - 1]) || matches!(chars[at - 1], 'b' | 'c') => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            let open = at + 1 + hashes;
            (peek(chars, open) == '"').then(|| {
                let closes =
                    |&end: &usize| chars[end] == '"' && (1..=hashes).all(|hash| peek(chars, end + hash) == '#');
                (open + 1..chars.len()).find(closes).map_or(chars.len(), |end| end + 1 + hashes)
            })
        }
        ('"', _) => Some(quoted(chars, at, '"')),
        ('\'', '\\') => Some(quoted(chars, at, '\'')),
        ('\'', _) if peek(chars, at + 2) == '\'' => Some(at + 3),
        _ => None,
    }
}

fn script_literal(chars: &[char], at: usize) -> Option<usize> {
    match (chars[at], peek(chars, at + 1)) {
        ('/', '/') => Some(line_comment(chars, at)),
        ('/', '*') => {
            let end = chars[at + 2..].windows(2).position(|pair| pair == ['*', '/']);
            Some(end.map_or(chars.len(), |length| at + 2 + length + 2))
        }
        ('/', _) if expects_value(&chars[..at]) => {
            let (mut end, mut class) = (at + 1, false);
            while end < chars.len() && chars[end] != '\n' && (class || chars[end] != '/') {
                match chars[end] {
                    '\\' => end += 1,
                    '[' => class = true,
                    ']' => class = false,
                    _ => {}
                }
                end += 1;
            }
            Some(end + 1)
        }
        (quote @ ('"' | '\''), _) => Some(quoted(chars, at, quote)),
        ('`', _) => Some(template(chars, at)),
        _ => None,
    }
}

/// Whether what follows `before` is a value, so that a slash opens a regular expression.
fn expects_value(before: &[char]) -> bool {
    let Some(last) = before.iter().rposition(|c| !c.is_whitespace()) else { return true };
    let word: String = before[..=last].iter().rev().take_while(|c| is_word(**c)).collect();
    "(,=:[!&|?{};+-*%<>~^".contains(before[last]) || ["nruter", "foepyt", "esac"].contains(&word.as_str())
}

/// The end of a template literal, expressions and all.
fn template(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '`' {
        if chars[at] == '$' && peek(chars, at + 1) == '{' {
            let mut depth = 1;
            at += 2;
            while depth > 0 && at < chars.len() {
                match chars[at] {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                at = script_literal(chars, at).unwrap_or(at + 1);
            }
        } else {
            at += if chars[at] == '\\' { 2 } else { 1 };
        }
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(path: &str, text: &str) -> String {
        let source = Source::new(path, text);
        assert_eq!(source.code.matches('\n').count(), text.matches('\n').count());
        source.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rust_prose_and_literals_are_blank() {
        let text = "a /* x /* y */ z */ b // c\n\"d \\\" e\" f r#\"g \" h\"# i '\\'' 'k' l<'m> br\"n\\\" o 'µ' p";
        assert_eq!(blanked("a.rs", text), "a b f i l<'m> b o p");
        assert_eq!(blanked("a.rs", "for r in #[x] {}"), "for r in #[x] {}");
    }

    #[test]
    fn script_prose_and_literals_are_blank() {
        let text = "a /* x */ b // c\n'd' \"e\\\"\" `f ${g({ h: `}` })} i` j = /[/'\"]/g; k = l / m / n; return /o'/";
        assert_eq!(blanked("a.ts", text), "a b j = g; k = l / m / n; return");
    }

    #[test]
    fn rust_functions_have_their_lines() {
        let text = "trait A {\n  fn a(x: [u8; 2]);\n  fn b() -> [u8; 2] {\n    \"}\"\n  }\n}\ntype C = fn(u8) -> u8;\n";
        assert_eq!(Source::new("a.rs", text).functions(), [("b".to_owned(), 3..6)]);
    }

    #[test]
    fn script_functions_have_their_lines() {
        let text = "export function a(x) {\n  if (x) {\n  }\n}\nclass B {\n  async b(): Promise<void> {\n    c(() => {\n    })\n  }\n}\nconst d = () => {\n}\n";
        let lines: Vec<_> = Source::new("a.ts", text).functions().into_iter().map(|(_, lines)| lines).collect();
        assert_eq!(lines, [1..5, 6..10, 11..13]);
    }
}
