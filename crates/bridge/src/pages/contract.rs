//! What every [`Pages`](super::Pages) and every [`PageStore`](super::PageStore) must do, as checks that panic with what
//! was expected and what came. Implementations call [`pages`] and [`store`] from their tests, natively and in the
//! browser.

mod of_pages;
mod of_store;

pub use of_pages::{Check as PagesCheck, PAGES, pages};
pub use of_store::{Check as StoreCheck, STORE, store};

use statik_disk::{Kind, Result};

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}
