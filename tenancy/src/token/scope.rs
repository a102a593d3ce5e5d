//! What a token of the management API may be made for. A scope names one kind of act and the permission that a person needs for
//! it; what a token may do at a moment is both together.

use crate::role::Permission;

macro_rules! scopes {
    ($($variant:ident $name:literal $permission:ident $words:literal,)*) => {
        /// A part of what the management API can do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each has its words beside it")]
        pub enum Scope { $($variant,)* }

        impl Scope {
            /// All scopes, in the order of the page.
            pub const ALL: &[Scope] = &[$(Scope::$variant,)*];

            /// As stored, in forms and in documents: `apps:read`.
            pub fn name(self) -> &'static str {
                match self { $(Scope::$variant => $name,)* }
            }

            /// What it allows, for people.
            pub fn words(self) -> &'static str {
                match self { $(Scope::$variant => $words,)* }
            }

            /// The least that its person must be allowed; a single act may need more.
            pub fn permission(self) -> Permission {
                match self { $(Scope::$variant => Permission::$permission,)* }
            }
        }
    };
}

scopes! {
    AppsRead "apps:read" SeeApps "Apps with their settings, and the names of their key pairs",
    AppsWrite "apps:write" ManageApps "Make apps, change their settings, delete them",
    KeysReveal "keys:reveal" UseSecrets "Read the secrets of key pairs, as Pusher's CLI needs it",
    KeysWrite "keys:write" UseSecrets "Make, name and revoke key pairs",
    EventsRead "events:read" SeePayloads "What the debug console shows, with payloads",
    EventsWrite "events:write" SendEvents "Publish events",
    WebhooksRead "webhooks:read" SeePayloads "Webhook endpoints and what was sent to them",
    WebhooksWrite "webhooks:write" SendEvents "Make, change and delete webhook endpoints; send webhooks again",
    StatsRead "stats:read" SeeStats "Usage and limits",
    BillingRead "billing:read" ManageBilling "The plan, and how it is paid",
    MembersRead "members:read" ManagePeople "People and open invitations",
    MembersWrite "members:write" ManagePeople "Invite people, change roles, remove people",
    AuditRead "audit:read" ManagePeople "The audit log",
}

impl Scope {
    /// The scope of a name.
    pub fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.iter().copied().find(|scope| scope.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_scope() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(*scope));
        }
        assert_eq!(Scope::parse("apps"), None);
    }
}
