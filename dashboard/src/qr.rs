//! A QR code as an inline picture: black on white in either theme, because scanners want it so. It is drawn here, so that what
//! it says goes to nobody else.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code; the standard asks for four.
const QUIET: usize = 4;

/// An `<svg>` of this text. `None`: it is too long for a code. Nothing of the text is markup; templates add `|safe`.
pub(crate) fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET;
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let run = row[x..].iter().take_while(|color| **color == Color::Dark).count();
            if run > 0 {
                path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET));
            }
            x += run.max(1);
        }
    }
    Some(format!(
        r##"<svg class="qr" viewBox="0 0 {side} {side}" width="208" height="208" role="img" aria-label="QR code" shape-rendering="crispEdges"><rect width="{side}" height="{side}" fill="#fff"/><path fill="#000" d="{path}"/></svg>"##
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_the_three_finders_and_none_of_the_text() {
        let picture = svg("otpauth://totp/Fanfare:ana%40x.example?secret=MZXW6YTBOI").unwrap();
        // The upper edges of the finders: seven dark modules at the left and at the right of the first row.
        assert!(picture.contains("M4 4h7v1h-7z"), "{picture}");
        assert!(!picture.contains("otpauth") && !picture.contains(" style="));
        assert!(svg(&"a".repeat(5_000)).is_none());
    }
}
