//! The actions that the audit log knows, each with its stored name and its words. Whoever adds a verb worth telling adds a line.

macro_rules! actions {
    ($($variant:ident $name:literal $words:literal,)*) => {
        /// What was done. The words complete the sentence "ana@shop.example …".
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each has its words beside it")]
        pub enum Action { $($variant,)* }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Action] = &[$(Action::$variant,)*];

            /// As stored, and as filters and exports have it.
            pub fn name(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// For people.
            pub fn words(self) -> &'static str {
                match self { $(Action::$variant => $words,)* }
            }
        }
    };
}

actions! {
    SignUp "person.sign_up" "signed up",
    SignIn "person.sign_in" "signed in",
    SignOut "person.sign_out" "signed out",
    PasswordChange "person.password" "changed their password",
    SessionEnd "person.session_end" "signed out a session of theirs",
    SessionsEnd "person.sessions_end" "signed out all their other sessions",
    SecondFactorOn "person.second_factor_on" "turned two-step sign-in on",
    SecondFactorOff "person.second_factor_off" "turned two-step sign-in off",
    SecondFactorReset "person.second_factor_reset" "took away the second factor of",
    SecondFactorWrong "person.second_factor_wrong" "gave the right password and a wrong code",
    RecoveryCodes "person.recovery_codes" "made new recovery codes",
    RecoveryCodeUsed "person.recovery_code" "used a recovery code",
    EmailConfirm "person.email_confirm" "confirmed their e-mail address",
    EmailAsk "person.email_ask" "asked for another e-mail address",
    EmailChange "person.email" "changed their e-mail address",
    PasswordReset "person.reset" "set a new password by a link",
    ResetLink "person.reset_link" "made a link to set a new password for",
    PersonDelete "person.delete" "deleted their account",
    MailTest "server.mail_test" "sent a test mail",
    IdentityLink "person.identity_link" "linked an account elsewhere to sign in with",
    IdentityUnlink "person.identity_unlink" "unlinked an account elsewhere",
    DataExport "person.export" "downloaded their data",
    AppCreate "app.create" "created the app",
    AppSettings "app.settings" "changed settings of the app",
    AppEnable "app.enable" "enabled the app",
    AppDisable "app.disable" "disabled the app",
    AppDelete "app.delete" "deleted the app",
    KeyCreate "key.create" "created a key pair of the app",
    KeyReveal "key.reveal" "was shown secrets of the app",
    KeyDelete "key.delete" "deleted a key pair of the app",
    WebhookCreate "webhook.create" "created a webhook endpoint of the app",
    WebhookEdit "webhook.edit" "changed a webhook endpoint of the app",
    WebhookDelete "webhook.delete" "deleted a webhook endpoint of the app",
    WebhookTest "webhook.test" "sent a test event to a webhook endpoint of the app",
    WebhookReplay "webhook.replay" "sent webhooks of the app again",
    AppTransfer "app.transfer" "moved the app to another organisation",
    MemberChange "member.change" "changed the role of",
    MemberRemove "member.remove" "removed",
    MemberLeave "member.leave" "left the organisation",
    InvitationCreate "invitation.create" "invited",
    InvitationRenew "invitation.renew" "made a new invitation link for",
    InvitationRevoke "invitation.revoke" "took back the invitation of",
    InvitationAccept "invitation.accept" "joined by invitation",
    OrganisationCreate "organisation.create" "created the organisation",
    OrganisationRename "organisation.rename" "renamed the organisation",
    SecondFactorRequire "organisation.second_factor_on" "made two-step sign-in a must in",
    SecondFactorRelease "organisation.second_factor_off" "no longer asks for two-step sign-in in",
    OrganisationDelete "organisation.delete" "deleted the organisation",
    OrganisationPlan "organisation.plan" "gave another plan to the organisation",
    OrganisationSuspend "organisation.suspend" "suspended the organisation",
    OrganisationResume "organisation.resume" "let the organisation go on",
    ServerPlan "server.plan" "changed a plan of this server",
    ServerSignUp "server.sign_up" "changed who may sign up to this server",
    ServerInvite "server.invite" "made or took back an invitation to this server",
    ServerBackup "server.backup" "made a backup of this server",
    BillingCheckout "billing.checkout" "went to the checkout of the plan",
    BillingChange "billing.change" "changed the plan to",
    BillingCancel "billing.cancel" "cancelled the plan",
    BillingOverage "billing.overage" "set what may be spent beyond the plan to",
    BillingResume "billing.resume" "took the end of the plan back",
    PlanGrant "plan.grant" "said that the plan is paid",
    PlanUnpaid "plan.unpaid" "said that a payment of the plan is missing",
    PlanPaid "plan.paid" "said that the missing payment of the plan came",
    PlanWillEnd "plan.will_end" "said that the plan is not renewed",
    PlanGoesOn "plan.goes_on" "said that the plan is renewed",
    PlanEnd "plan.end" "said that the plan ended",
    ConsoleSend "console.send" "sent an event from the console of the app",
    TokenCreate "token.create" "made the API token",
    TokenRevoke "token.revoke" "revoked the API token",
    KeyRename "key.rename" "renamed a key pair of the app",
    ApiSend "event.send" "sent an event through the management API to the app",
}

impl Action {
    /// The action of a name.
    pub fn parse(name: &str) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| action.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_actions_are_read_back_and_told_apart() {
        for (i, action) in Action::ALL.iter().enumerate() {
            assert_eq!(Action::parse(action.name()), Some(*action));
            assert!(Action::ALL[i + 1..].iter().all(|other| other.words() != action.words()), "{action:?}");
        }
        assert_eq!(Action::parse("key"), None);
    }
}
