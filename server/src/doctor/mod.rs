//! What `fanfare doctor` knows: which limits of a machine hold how many sockets and what lifts them, and what may be wrong on
//! the way to a running server. It reads and asks; it changes nothing but for one event that it publishes when given a secret.
//! How the answers look is `cli::doctor`'s.

pub(crate) mod assumed;
mod certificate;
mod fixes;
pub(crate) mod lift;
pub(crate) mod limits;
pub(crate) mod outside;
pub(crate) mod proc;
pub(crate) mod readings;
mod wire;

/// Digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes for people.
pub(crate) fn bytes(number: u64) -> String {
    const KIB: f64 = 1_024.0;
    match number as f64 {
        n if n >= KIB * KIB * KIB => format!("{:.1} GiB", n / KIB / KIB / KIB),
        n if n >= KIB * KIB => format!("{:.1} MiB", n / KIB / KIB),
        n => format!("{:.1} KiB", n / KIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (19_900, "19,900"), (1_048_576, "1,048,576")] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in
            [(512, "0.5 KiB"), (6_656, "6.5 KiB"), (3 << 20, "3.0 MiB"), (22 << 30, "22.0 GiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }
}
