//! Webhook deliveries into storage and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use realtime::apps::SourceError;
use realtime::usage::BoxFuture;
use realtime::webhooks::{Attempt, Claimed, NewDelivery, NotStored, Outcome, Paused, State, WebhookStore};
use tenancy::db::{Db, DbError};
use tenancy::{webhook_delivery as log, webhook_outbox as outbox};

/// Keeps deliveries in the control plane's database.
#[derive(Debug)]
pub struct Webhooks {
    /// Accounts and apps.
    pub db: Db,
    /// This node's region.
    pub cluster: String,
    /// Where other regions are: what waits for apps that live there is theirs to send.
    pub elsewhere: BTreeMap<String, String>,
}

fn unreachable_store(error: DbError) -> SourceError {
    SourceError(error.to_string())
}

fn attempt(made: Attempt) -> log::Attempt {
    let Attempt { at_ms, duration_ms, status, error, request_headers, response_headers, response_body } =
        made;
    log::Attempt { at_ms, status, duration_ms, error, request_headers, response_headers, response_body }
}

fn outcome(one: Outcome) -> outbox::Outcome {
    let (state, next_try_ms) = match one.state {
        State::Pending(at) => (log::State::Pending, Some(at)),
        State::Delivered => (log::State::Delivered, None),
        State::Failed => (log::State::Failed, None),
    };
    outbox::Outcome {
        id: one.id,
        endpoint_id: one.endpoint_id.to_string(),
        attempt: one.attempt.map(attempt),
        state,
        next_try_ms,
    }
}

impl WebhookStore for Webhooks {
    fn new_id(&self) -> String {
        outbox::delivery_id()
    }

    fn put<'a>(
        &'a self,
        node: &'a str,
        until_ms: i64,
        new: Vec<NewDelivery>,
    ) -> BoxFuture<'a, Result<NotStored, SourceError>> {
        Box::pin(async move {
            let rows: Vec<outbox::NewDelivery> = new
                .into_iter()
                .map(|one| outbox::NewDelivery {
                    id: one.id,
                    endpoint_id: one.endpoint_id.to_string(),
                    created_ms: one.created_ms,
                    events: one.events,
                    events_count: one.events_count,
                    claimed: one.claimed,
                })
                .collect();
            let outbox::NotStored { too_many, gone } =
                outbox::put(&self.db, node, until_ms, &rows).await.map_err(unreachable_store)?;
            Ok(NotStored { too_many, gone })
        })
    }

    fn waiting(&self, now_ms: i64) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        Box::pin(async move {
            let waiting = outbox::waiting(&self.db, now_ms).await.map_err(unreachable_store)?;
            if self.elsewhere.is_empty() {
                return Ok(waiting);
            }
            let mut own = Vec::new();
            for id in waiting {
                let cluster = outbox::cluster_of_endpoint(&self.db, &id).await.map_err(unreachable_store)?;
                let is_foreign =
                    cluster.is_some_and(|one| one != self.cluster && self.elsewhere.contains_key(&one));
                if !is_foreign {
                    own.push(id);
                }
            }
            Ok(own)
        })
    }

    fn claim<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
        until_ms: i64,
        endpoint_id: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, SourceError>> {
        Box::pin(async move {
            let claimed = outbox::claim(&self.db, node, now_ms, until_ms, endpoint_id, limit)
                .await
                .map_err(unreachable_store)?;
            let endpoint_id: Arc<str> = endpoint_id.into();
            let ours = claimed.into_iter().map(|one| Claimed {
                id: one.id,
                endpoint_id: endpoint_id.clone(),
                app_id: one.app_id,
                time_ms: one.time_ms,
                events: one.events,
                events_count: one.events_count,
                by_hand: one.by_hand,
                next_try_ms: one.next_try_ms,
            });
            Ok(ours.collect())
        })
    }

    fn renew<'a>(&'a self, node: &'a str, until_ms: i64) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(
            async move { outbox::renew(&self.db, node, until_ms).await.map(drop).map_err(unreachable_store) },
        )
    }

    fn release<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { outbox::release(&self.db, node).await.map_err(unreachable_store) })
    }

    fn finish<'a>(
        &'a self,
        node: &'a str,
        outcomes: Vec<Outcome>,
    ) -> BoxFuture<'a, Result<Vec<Paused>, SourceError>> {
        Box::pin(async move {
            let outcomes: Vec<outbox::Outcome> = outcomes.into_iter().map(outcome).collect();
            let paused = outbox::finish(&self.db, node, &outcomes).await.map_err(unreachable_store)?;
            Ok(paused.into_iter().map(|one| (one.app_id, one.endpoint_id)).collect())
        })
    }

    fn hold(&self, events: Vec<(u64, String)>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move { outbox::hold(&self.db, &events).await.map_err(unreachable_store) })
    }

    fn take_held(&self) -> BoxFuture<'_, Result<Vec<(u64, String)>, SourceError>> {
        Box::pin(async move {
            let held = match self.elsewhere.is_empty() {
                true => outbox::take_held(&self.db).await,
                false => outbox::take_held_in(&self.db, &self.cluster).await,
            };
            held.map_err(unreachable_store)
        })
    }

    fn prune(&self, now_ms: i64, endpoint_ids: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(
            async move { outbox::prune(&self.db, now_ms, &endpoint_ids).await.map_err(unreachable_store) },
        )
    }
}
