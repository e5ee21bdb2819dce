//! Serves a store of this node to the other nodes over gRPC. Decides nothing; what it adds is limits.

use std::{pin::Pin, sync::Arc};

use flocker_api::store as wire;
use flocker_model::Revision;
use flocker_ports::{Entry, Listing, Store};
use futures::{Stream, StreamExt, stream};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use wire::store_server::{self, StoreServer};

use crate::convert::{change_to_wire, entry_to_wire, error_to_status, transaction_from_wire};

/// Bytes of one message: a whole transaction with its keys, twice over.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of one page of a list. A record may be as large as a transaction, so a page never comes near the limit.
const PAGE_BYTES: usize = 1 << 20;

/// Watches that are open at a time, over all nodes: a dozen per node in a large cluster. Each keeps one page of changes.
const WATCHES_MAX: usize = 1024;

/// The service to be added to a tonic server. The server itself should limit streams per connection, and ping idle
/// connections so that dead watchers are noticed.
pub fn serve(store: Arc<dyn Store>) -> StoreServer<StoreService> {
    StoreServer::new(StoreService { store, watches: Arc::new(Semaphore::new(WATCHES_MAX)) })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A store as a gRPC service.
#[derive(Debug)]
pub struct StoreService {
    store: Arc<dyn Store>,
    watches: Arc<Semaphore>,
}

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl store_server::Store for StoreService {
    type ListStream = Answers<wire::ListPage>;
    type WatchStream = Answers<wire::Change>;

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<wire::GetResponse>, Status> {
        let entry = self.store.get(&request.get_ref().key).await.map_err(error_to_status)?;
        Ok(Response::new(wire::GetResponse { entry: entry.map(entry_to_wire) }))
    }

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let listing = self.store.list(&request.get_ref().prefix).await.map_err(error_to_status)?;
        Ok(Response::new(Box::pin(stream::iter(pages(listing).map(Ok)))))
    }

    async fn commit(
        &self,
        request: Request<wire::CommitRequest>,
    ) -> Result<Response<wire::CommitResponse>, Status> {
        let transaction = transaction_from_wire(request.into_inner());
        let revision = self.store.commit(transaction).await.map_err(error_to_status)?;
        Ok(Response::new(wire::CommitResponse { revision: revision.0 }))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let open = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{WATCHES_MAX} watches are open, which is the most"))
        })?;
        let wire::WatchRequest { prefix, after } = request.into_inner();
        let changes = self.store.watch(&prefix, Revision(after)).await.map_err(error_to_status)?;
        Ok(Response::new(Box::pin(changes.map(move |change| {
            // Given back when the stream is dropped, which is when the client went away.
            let _open = &open;
            change.map(change_to_wire).map_err(error_to_status)
        }))))
    }
}

/// The listing in messages of a bounded size; one empty page says that there is nothing.
fn pages(listing: Listing) -> impl Iterator<Item = wire::ListPage> {
    let revision = listing.revision.0;
    let mut entries = listing.entries.into_iter().peekable();
    let mut first = true;
    std::iter::from_fn(move || {
        if !first && entries.peek().is_none() {
            return None;
        }
        first = false;
        let (mut page, mut bytes) = (Vec::new(), 0);
        let size = |entry: &Entry| entry.key.len() + entry.value.len();
        while let Some(entry) =
            entries.next_if(|entry| page.is_empty() || bytes + size(entry) <= PAGE_BYTES)
        {
            bytes += size(&entry);
            page.push(entry_to_wire(entry));
        }
        Some(wire::ListPage { entries: page, revision })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, bytes: usize) -> Entry {
        Entry { key: key.into(), value: vec![0; bytes].into(), revision: Revision(1) }
    }

    #[test]
    fn pages_hold_every_entry_once_and_stay_below_the_limit() {
        let sizes = [10, PAGE_BYTES, 20, PAGE_BYTES - 22, 5, 5];
        let entries: Vec<_> =
            sizes.iter().enumerate().map(|(i, n)| entry(&i.to_string(), *n)).collect();

        let pages: Vec<_> = pages(Listing { entries, revision: Revision(7) }).collect();

        let keys: Vec<Vec<_>> = pages
            .iter()
            .map(|page| page.entries.iter().map(|e| e.key.as_str()).collect())
            .collect();
        assert_eq!(keys, [vec!["0"], vec!["1"], vec!["2", "3"], vec!["4", "5"]]);
        assert!(pages.iter().all(|page| page.revision == 7));
    }

    #[test]
    fn an_empty_listing_is_one_page_with_the_revision() {
        let pages: Vec<_> = pages(Listing { entries: vec![], revision: Revision(7) }).collect();

        assert_eq!(pages, [wire::ListPage { entries: vec![], revision: 7 }]);
    }
}
