//! Calls to one service that is called all the time: connections stay open between calls.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::{Place, connect};

/// Connections that are kept while nobody uses them.
const IDLE_MAX: usize = 8;

/// Open connections to one place.
#[derive(Debug)]
pub struct Pool {
    place: Place,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Pool {
    /// A pool without a connection yet.
    pub fn new(place: Place) -> Pool {
        Pool { place, idle: Mutex::default() }
    }

    /// Sends a request whose target is a path, and reads status and body of the answer, up to so many bytes. A request that did not
    /// leave, since the connection had ended meanwhile, goes over another; any other may have been carried out. *Cancel*: the
    /// connection is closed.
    pub async fn call(
        &self,
        mut request: Request<Full<Bytes>>,
        answer_bytes_max: usize,
    ) -> Result<(u16, Bytes), String> {
        loop {
            let kept = self.take();
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.open().await?,
            };
            let answer = match sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_kept => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(error.into_error().to_string()),
                },
            };
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), answer_bytes_max).collect();
            let body = body.await.map_err(|e| e.to_string())?.to_bytes();
            self.keep(sender);
            return Ok((status, body));
        }
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| !one.is_closed());
        let at = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(at))
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = connect(&self.place).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // It ends when its sender is dropped; what ended it is told to whoever called.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}
