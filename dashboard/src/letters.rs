//! The words of the mails that pages send. Plain text, one link each (which is put below), and what to do if one did not ask for it.
//!
//! Nothing of a visitor's free text stands in them: only addresses, and names of organisations, which their people chose.

use tenancy::mail::Letter;

/// A mail's words before they are borrowed.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    subject: String,
    text: String,
}

impl Words {
    fn new(subject: impl Into<String>, text: impl Into<String>) -> Words {
        Words { subject: subject.into(), text: text.into() }
    }

    /// As `tenancy` takes them.
    pub(crate) fn letter(&self) -> Letter<'_> {
        Letter { subject: &self.subject, text: &self.text }
    }
}

/// Somebody was asked into an organisation.
pub(crate) fn invitation(organisation: &str, role: &str, by: &str) -> Words {
    Words::new(
        format!("Join {organisation} on Fanfare"),
        format!(
            "{by} asks you to join {organisation} as {role}.\n\nIf you don't know them, ignore this mail: nothing happens. The link works for seven days, for this address alone:"
        ),
    )
}

/// From the page of the server's mail.
pub(crate) fn test(by: &str) -> Words {
    Words::new(
        "A test mail from Fanfare",
        format!("{by} sent this from the mail page of this server. Mail from it arrives."),
    )
}

/// The link that confirms an address.
pub(crate) fn confirm(email: &str) -> Words {
    Words::new(
        "Confirm your e-mail address",
        format!(
            "Somebody, most likely you, made an account on Fanfare with the address {email}. Confirm that it is yours.\n\nIf it wasn't you, ignore this mail. The link works for 24 hours:"
        ),
    )
}

/// The link to a new password.
pub(crate) fn reset(email: &str) -> Words {
    Words::new(
        "Set a new password",
        format!(
            "Somebody, most likely you, asked for a new password for {email} on Fanfare.\n\nIf it wasn't you, ignore this mail: your password stays as it is. The link works once, and for an hour:"
        ),
    )
}

/// A password was set by a link.
pub(crate) fn was_reset(email: &str) -> Words {
    Words::new(
        "Your password was changed",
        format!(
            "The password of {email} on Fanfare was just changed by a link that was sent to you or made by who runs the server. You were signed out everywhere.\n\nIf it wasn't you, set another one at once:"
        ),
    )
}

/// To an address that somebody wants to have from now on.
pub(crate) fn new_address(old: &str, new: &str) -> Words {
    Words::new(
        "Confirm your new e-mail address",
        format!(
            "The account {old} on Fanfare shall have the address {new} from now on. Confirm that it is yours.\n\nIf you don't know that account, ignore this mail. The link works for 24 hours:"
        ),
    )
}

/// To the present address, when another was asked for.
pub(crate) fn address_asked(old: &str, new: &str) -> Words {
    Words::new(
        "Your e-mail address is about to change",
        format!(
            "Somebody who knows your password asked to change the address of {old} on Fanfare to {new}. It changes when the link in a mail to {new} is opened.\n\nIf it wasn't you, set a new password at once, and the change is void:"
        ),
    )
}

/// To both addresses, when it was changed.
pub(crate) fn address_changed(old: &str, new: &str) -> Words {
    Words::new(
        "Your e-mail address was changed",
        format!(
            "The account {old} on Fanfare has the address {new} now. Sign in with that from now on.\n\nIf it wasn't you, tell the people who run this server:"
        ),
    )
}

/// The last one.
pub(crate) fn deleted(email: &str) -> Words {
    Words::new(
        "Your account was deleted",
        format!(
            "The account {email} on Fanfare was deleted, as its owner asked with their password. Organisations in which nobody else was are gone with it.\n\nIf it wasn't you, tell the people who run this server:"
        ),
    )
}
