//! What a member of an organisation may do: five roles, and the table of what each allows. Which apps a Developer or Viewer
//! sees is the membership's matter, not the role's.

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but billing, Owners and the organisation itself.
    Admin,
    /// Works with apps.
    Developer,
    /// Looks on, without payloads, members and secrets.
    Viewer,
    /// Plan, invoices and numbers.
    Billing,
}

/// A thing that not everybody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The list of apps with their numbers.
    SeeStats,
    /// An app's pages, and its console without payloads.
    SeeApps,
    /// Payloads, members, webhooks and what was sent to them.
    SeePayloads,
    /// Send events; test and repeat webhooks.
    SendEvents,
    /// Read secrets and make further key pairs.
    UseSecrets,
    /// Make apps; change their settings and webhooks; delete key pairs.
    ManageApps,
    /// Delete an app, or hand it to another organisation.
    RemoveApps,
    /// Invite, change roles, remove people; read the audit log.
    ManagePeople,
    /// Plan, payment and invoices.
    ManageBilling,
    /// Rename or delete the organisation.
    ManageOrganisation,
}

impl Role {
    /// All roles, most powerful first.
    pub const ALL: [Role; 5] = [Role::Owner, Role::Admin, Role::Developer, Role::Viewer, Role::Billing];

    /// As stored and in forms.
    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Developer => "developer",
            Role::Viewer => "viewer",
            Role::Billing => "billing",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Role::Owner => "Owner",
            Role::Admin => "Admin",
            Role::Developer => "Developer",
            Role::Viewer => "Viewer",
            Role::Billing => "Billing",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The table.
    pub fn allows(self, permission: Permission) -> bool {
        use Permission::*;
        match permission {
            SeeStats => true,
            SeeApps => self != Role::Billing,
            SeePayloads | SendEvents | UseSecrets => {
                matches!(self, Role::Owner | Role::Admin | Role::Developer)
            }
            ManageApps | RemoveApps | ManagePeople => matches!(self, Role::Owner | Role::Admin),
            ManageBilling => matches!(self, Role::Owner | Role::Billing),
            ManageOrganisation => self == Role::Owner,
        }
    }

    /// May who has this role give it to somebody, or take it from them? Only Owners make and unmake Owners.
    pub fn may_give(self, other: Role) -> bool {
        self.allows(Permission::ManagePeople) && (self == Role::Owner || other != Role::Owner)
    }

    /// Can its sight be narrowed to some apps?
    pub fn can_be_narrowed(self) -> bool {
        matches!(self, Role::Developer | Role::Viewer)
    }
}
