//! The stream on which a node learns what there is for it. Nothing is polled: the core wakes the stream, and a slow reader only slows itself.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use truc_proto::{
    NodeId,
    relay_v1::{self as wire, watch_event::Event},
};

use super::{
    Service, Streamed, blocking,
    proofs::{DeliveriesLeft, note_bytes},
    refuse::Refusal,
};
use crate::{
    core::{Cursor, DeliveryPage},
    store::Store,
};

/// Events that wait for the reader.
const EVENTS_AHEAD: usize = 16;
/// Most items of each kind that the core is asked for at once.
const PAGE_ITEMS: usize = 64;

/// The reader is gone, or has been told why.
struct Over;

struct Watcher<S> {
    service: Arc<Service<S>>,
    node: NodeId,
    events: mpsc::Sender<Result<wire::WatchEvent, Status>>,
    cursor: Cursor,
}

impl<S: Store> Service<S> {
    pub(super) fn watch(self: &Arc<Self>, node: NodeId) -> Streamed<wire::WatchEvent> {
        let (events, stream) = mpsc::channel(EVENTS_AHEAD);
        let watcher = Watcher { service: Arc::clone(self), node, events, cursor: Cursor::default() };
        tokio::spawn(async move {
            let _: Result<(), Over> = watcher.run().await;
        });
        Box::pin(ReceiverStream::new(stream))
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the service is gone, which is an end, too.
    let _ = stopping.wait_for(|stopping| *stopping).await.map(drop);
}

impl<S: Store> Watcher<S> {
    async fn run(mut self) -> Result<(), Over> {
        // Subscribed before the first look, so that nothing falls between.
        let mut news = self.service.store.news(&self.node);
        let mut directories = self.service.directories();
        let mut stopping = self.service.stopping.subscribe();
        let mut watching = self.service.watching(&self.node);
        let mut statement_due =
            tokio::time::interval(self.service.settings.statement_every.max(Duration::from_millis(10)));
        statement_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.tell_checkpoint().await?;
        loop {
            news.borrow_and_update();
            self.tell_all().await?;
            let events = self.events.clone();
            tokio::select! {
                changed = news.changed() => changed.map_err(|_| Over)?,
                changed = directories.changed() => {
                    changed.map_err(|_| Over)?;
                    self.tell_directory(&mut directories).await?;
                }
                changed = watching.asked.changed() => {
                    changed.map_err(|_| Over)?;
                    let note = watching.asked.borrow_and_update().clone();
                    if let Some(note) = note {
                        self.tell(Event::Cosign(note)).await?;
                    }
                }
                _ = statement_due.tick() => self.tell_statement().await?,
                () = events.closed() => return Err(Over),
                () = stopped(&mut stopping) => return Err(Over),
            }
        }
    }

    async fn tell_all(&mut self) -> Result<(), Over> {
        loop {
            let page = self.service.store.pull(self.node.clone(), self.cursor, PAGE_ITEMS).await;
            let page = self.or_end(page.map_err(|error| Refusal::from(error).into())).await?;
            self.cursor = page.cursor;
            let more = page.more;
            self.tell_page(page).await?;
            if !more {
                return Ok(());
            }
        }
    }

    async fn tell_page(&self, page: DeliveryPage) -> Result<(), Over> {
        for item in page.waiting {
            let waiting = wire::Waiting {
                sender: item.key.sender.to_string(),
                envelope: item.key.envelope.to_string(),
                priority: item.priority.into(),
                payload_length: item.payload_length,
                kind: if item.status { "status".into() } else { "document".into() },
            };
            self.tell(Event::Waiting(waiting)).await?;
        }
        if page.deliveries.is_empty() {
            return Ok(());
        }
        let mut left = DeliveriesLeft::of(page.deliveries);
        loop {
            let service = Arc::clone(&self.service);
            let read = blocking(move || service.next_delivery(&mut left).map(|delivery| (delivery, left))).await;
            let read = read.and_then(|read| read.map_err(|error| Refusal::from(error).into()));
            let (delivery, rest) = self.or_end(read).await?;
            let Some(delivery) = delivery else { return Ok(()) };
            self.tell(Event::Evidence(delivery)).await?;
            left = rest;
        }
    }

    async fn tell_statement(&self) -> Result<(), Over> {
        let note = self.service.undelivered_note(&self.node).await;
        let note = self.or_end(note).await?;
        self.tell(Event::Undelivered(note)).await
    }

    async fn tell_directory(
        &self,
        directories: &mut watch::Receiver<Option<Arc<truc_evidence::Directory>>>,
    ) -> Result<(), Over> {
        let version = directories.borrow_and_update().as_ref().map_or(0, |directory| directory.version());
        self.tell(Event::DirectoryVersion(version)).await?;
        self.tell_checkpoint().await
    }

    async fn tell_checkpoint(&self) -> Result<(), Over> {
        self.tell(Event::Checkpoint(note_bytes(&self.service.store.head()))).await
    }

    async fn tell(&self, event: Event) -> Result<(), Over> {
        if self.service.is_silenced() {
            return self.or_end(Err(self.service.why_silenced().into())).await;
        }
        self.events.send(Ok(wire::WatchEvent { event: Some(event) })).await.map_err(|_| Over)
    }

    /// Tells the reader why the stream ends.
    async fn or_end<T>(&self, result: Result<T, Status>) -> Result<T, Over> {
        match result {
            Ok(value) => Ok(value),
            Err(status) => {
                let _ = self.events.send(Err(status)).await;
                Err(Over)
            }
        }
    }
}
