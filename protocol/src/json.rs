//! Small questions about JSON text that is passed through unparsed.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Is the nesting of arrays and objects at most `max` deep? Works on any bytes, without recursion.
pub fn depth_within(text: &str, max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// The text that a JSON value stands for when it is used as an event's `data`: a string's content, or the JSON text of
/// anything else, unchanged.
pub fn data_text(raw: &RawValue) -> Cow<'_, str> {
    let text = raw.get();
    if !text.starts_with('"') {
        return Cow::Borrowed(text);
    }
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // A lone surrogate escape is a JSON string without a text; its raw form is what it weighs.
    serde_json::from_str::<String>(text).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// Appends `raw` as a JSON *string* literal: a string stays as it was written, anything else becomes a string holding its
/// JSON text.
pub fn push_data_literal(out: &mut Vec<u8>, raw: &RawValue) {
    let text = raw.get();
    if text.starts_with('"') {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_string(out, text);
    }
}

/// Appends `text` as a JSON string literal.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing into a Vec can't fail, and a str always has a JSON form.
    let _ = serde_json::to_writer(out, text);
}

/// Cuts `text` to at most `max` bytes at a character's edge. The flag says whether something was cut.
pub fn clip(text: &str, max: usize) -> (&str, bool) {
    if text.len() <= max {
        return (text, false);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert!(depth_within(r#"{"a":[1,"[[[[\"[[["]}"#, 2));
        assert!(!depth_within("[[[", 2));
        assert!(!depth_within(&"[".repeat(50_000), 64));
        assert!(depth_within("]]]][]", 1));
    }

    #[test]
    fn data_is_a_string_or_the_text_of_the_value() {
        let raw = |s: &str| RawValue::from_string(s.to_owned()).unwrap();
        assert_eq!(data_text(&raw(r#""a\"b\u00e9""#)), "a\"bé");
        assert_eq!(data_text(&raw(r#"{"a": 1}"#)), r#"{"a": 1}"#);
        let mut out = Vec::new();
        push_data_literal(&mut out, &raw(r#"{"a": "x"}"#));
        assert_eq!(out, br#""{\"a\": \"x\"}""#);
    }

    #[test]
    fn clip_keeps_characters_whole() {
        assert_eq!(clip("aé", 2), ("a", true));
        assert_eq!(clip("aé", 3), ("aé", false));
    }
}
