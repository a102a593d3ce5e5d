//! The kinds of webhook events in words, grouped as people know them from Pusher. The names are `tenancy`'s.

/// A kind of event.
pub(crate) struct Kind {
    /// Its name on the wire.
    pub(crate) name: &'static str,
    /// When it's sent.
    pub(crate) when: &'static str,
}

/// Kinds that belong together.
pub(crate) struct Group {
    /// Its heading.
    pub(crate) title: &'static str,
    /// The switch of the app that they need, by its slug.
    pub(crate) needs: Option<&'static str>,
    /// Its kinds.
    pub(crate) kinds: &'static [Kind],
}

/// All groups.
pub(crate) static GROUPS: &[Group] = &[
    Group {
        title: "Channel existence",
        needs: None,
        kinds: &[
            Kind { name: "channel_occupied", when: "A channel gets its first subscriber" },
            Kind {
                name: "channel_vacated",
                when: "A channel lost its last one and got none within 3 seconds",
            },
        ],
    },
    Group {
        title: "Presence",
        needs: None,
        kinds: &[
            Kind { name: "member_added", when: "A user joins a presence channel" },
            Kind { name: "member_removed", when: "A user left it and did not return within 3 seconds" },
        ],
    },
    Group {
        title: "Client events",
        needs: Some("client-events"),
        kinds: &[Kind { name: "client_event", when: "A client sends an event to others" }],
    },
    Group {
        title: "Cache channels",
        needs: None,
        kinds: &[Kind {
            name: "cache_miss",
            when: "Somebody subscribes to a cache channel that holds nothing",
        }],
    },
    Group {
        title: "Subscription count",
        needs: Some("subscription-counts"),
        kinds: &[Kind { name: "subscription_count", when: "The number of a channel's connections changes" }],
    },
    Group {
        title: "Limits",
        needs: None,
        kinds: &[Kind {
            name: "quota_threshold",
            when: "80 % or all of the day's messages or of the connections are used, whatever channels are chosen below",
        }],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_there_is_can_be_chosen_once() {
        let mut named: Vec<_> = GROUPS.iter().flat_map(|group| group.kinds).map(|kind| kind.name).collect();
        let mut known = tenancy::webhook_endpoint::KINDS.to_vec();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
        for switch in GROUPS.iter().filter_map(|group| group.needs) {
            assert!(crate::switches::find(switch).is_some(), "{switch}");
        }
    }
}
