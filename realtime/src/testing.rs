//! A node with one app for this crate's own tests.

use std::sync::Arc;

use crate::app::{App, AppSnapshot};
use crate::apps::{AppRecord, AppSource, SourceError};
use crate::node::{Node, NodeConfig};
use crate::usage::{BoxFuture, Report, Totals, UsageSink};

struct OneApp(AppSnapshot);

impl AppSource for OneApp {
    fn by_key<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<AppRecord>, SourceError>> {
        self.by_id(self.0.id)
    }

    fn by_id(&self, id: u64) -> BoxFuture<'_, Result<Option<AppRecord>, SourceError>> {
        let snapshot = AppSnapshot { id, ..self.0.clone() };
        Box::pin(async { Ok(Some(AppRecord { snapshot, day: 0, scope_messages: 0, app_messages: 0 })) })
    }
}

impl UsageSink for OneApp {
    fn take(&self, _: Report) -> BoxFuture<'_, Result<Vec<Totals>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// A node with one shard, and its app.
pub(crate) async fn node_with(snapshot: AppSnapshot) -> (Node, Arc<App>) {
    let (id, config) = (snapshot.id, NodeConfig { workers: 1, cluster: None });
    let source = Arc::new(OneApp(snapshot));
    let node = Node::start(config, source.clone(), source).await.unwrap();
    let app = node.apps().find_by_id(id).await.unwrap().unwrap();
    (node, app)
}
