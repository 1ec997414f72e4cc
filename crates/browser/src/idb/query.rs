//! Pages of a store or an index, in order.
//!
//! A page that is not the first begins behind the last record of the one before: that is a pair of keys, since in an index
//! several records may have one key. What is left of that key is walked through by a cursor, the rest comes at once where
//! the browser can do that: forward always, backward in those that have `getAllRecords`.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::js::{Cursor, Factory, KeyRanges, Request, Source};

type JsResult<T> = std::result::Result<T, JsValue>;

/// What knows about keys: an `IDBFactory`, and the class `IDBKeyRange` that goes with it.
pub(super) struct Keys {
    pub factory: Factory,
    pub ranges: KeyRanges,
}

/// What is asked for.
pub struct Query {
    /// Undefined: the store itself.
    pub index: JsValue,
    /// A key, an object with `lower`, `upper`, `lowerOpen` and `upperOpen` as far as there are bounds, or undefined.
    pub range: JsValue,
    /// From the last to the first.
    pub is_backward: bool,
    /// How many at most, from 1.
    pub limit: u32,
    /// Where the page before has ended.
    pub after: Option<Position>,
    /// Primary keys rather than records.
    pub is_keys_only: bool,
}

/// A record's key in what is read, and its primary key.
#[derive(Clone, Debug)]
pub struct Position {
    /// The index's, or the store's.
    pub key: JsValue,
    /// The store's.
    pub primary: JsValue,
}

/// What was found.
pub struct Page {
    /// Records, or primary keys.
    pub items: Array,
    /// Where the next page goes on; none if there is nothing more.
    pub last: Option<Position>,
}

/// The bounds of a range, undefined where there is none.
#[derive(Clone)]
struct Bounds {
    lower: JsValue,
    upper: JsValue,
    is_lower_open: bool,
    is_upper_open: bool,
}

impl Keys {
    /// A range as the platform takes it: what is no object with bounds, is a key, or nothing.
    pub fn range(&self, range: &JsValue) -> JsResult<JsValue> {
        match Bounds::of(range) {
            Some(bounds) => self.bounded(&bounds),
            None => Ok(range.clone()),
        }
    }

    fn bounded(&self, bounds: &Bounds) -> JsResult<JsValue> {
        let Bounds { lower, upper, is_lower_open, is_upper_open } = bounds;
        match (lower.is_undefined(), upper.is_undefined()) {
            (true, true) => Ok(JsValue::UNDEFINED),
            (false, true) => self.ranges.lower_bound(lower, *is_lower_open),
            (true, false) => self.ranges.upper_bound(upper, *is_upper_open),
            (false, false) => self.ranges.bound(lower, upper, *is_lower_open, *is_upper_open),
        }
    }

    /// What is left of a range beyond a key; nothing where the key is its end.
    fn beyond(&self, range: &JsValue, key: &JsValue, is_backward: bool) -> JsResult<Option<JsValue>> {
        let mut bounds = Bounds::of(range).unwrap_or_else(|| Bounds::only(range));
        let end = if is_backward { &bounds.lower } else { &bounds.upper };
        if !end.is_undefined() {
            let order = self.factory.cmp(key, end)?;
            if if is_backward { order <= 0 } else { order >= 0 } {
                return Ok(None);
            }
        }
        if is_backward {
            (bounds.upper, bounds.is_upper_open) = (key.clone(), true);
        } else {
            (bounds.lower, bounds.is_lower_open) = (key.clone(), true);
        }
        self.bounded(&bounds).map(Some)
    }
}

impl Bounds {
    fn of(range: &JsValue) -> Option<Self> {
        let has = |name: &str| Reflect::has(range, &name.into()).unwrap_or(false);
        let property = |name: &str| Reflect::get(range, &name.into()).unwrap_or(JsValue::UNDEFINED);
        // Arrays, bytes, though they be none, and dates are keys, too.
        if !range.is_object() || Array::is_array(range) || has("byteLength") || has("getTime") {
            return None;
        }
        Some(Bounds {
            lower: property("lower"),
            upper: property("upper"),
            is_lower_open: property("lowerOpen").is_truthy(),
            is_upper_open: property("upperOpen").is_truthy(),
        })
    }

    /// One key; all, where that is undefined.
    fn only(key: &JsValue) -> Self {
        Bounds { lower: key.clone(), upper: key.clone(), is_lower_open: false, is_upper_open: false }
    }
}

/// A store, or the index of it that is named.
pub(super) fn source(store: &Source, index: &JsValue) -> JsResult<Source> {
    if index.is_undefined() { Ok(store.clone()) } else { store.index(index) }
}

/// The page that is asked for.
pub(super) async fn page(keys: &Keys, store: &Source, query: &Query) -> JsResult<Page> {
    let reader = Reader { keys, source: source(store, &query.index)?, query };
    let items = Array::new();
    let Some(after) = &query.after else {
        return reader.rest(&keys.range(&query.range)?, items).await;
    };
    if !query.index.is_undefined() {
        let same = reader.keys.ranges.only(&after.key)?;
        if let Some(last) = reader.walk(&same, Some(&after.primary), &items).await? {
            return Ok(Page { items, last: Some(last) });
        }
    }
    match keys.beyond(&query.range, &after.key, query.is_backward)? {
        Some(range) => reader.rest(&range, items).await,
        None => Ok(Page { items, last: None }),
    }
}

struct Reader<'a> {
    keys: &'a Keys,
    source: Source,
    query: &'a Query,
}

impl Reader<'_> {
    /// Adds what the range has, up to the limit.
    async fn rest(&self, range: &JsValue, items: Array) -> JsResult<Page> {
        let Query { is_backward, limit, is_keys_only, .. } = *self.query;
        let left = limit - items.length();
        if is_backward {
            let can_reverse = Reflect::has(&self.source, &"getAllRecords".into())?;
            let last = match can_reverse {
                true => self.reversed(range, left, &items).await?,
                false => self.walk(range, None, &items).await?,
            };
            return Ok(Page { items, last });
        }
        let request =
            if is_keys_only { self.source.get_all_keys(range, left)? } else { self.source.get_all(range, left)? };
        let found: Array = request.done().await?.unchecked_into();
        let last = if found.length() == left { self.position(range, &found).await? } else { None };
        let items = if items.length() == 0 { found } else { items.concat(&found) };
        Ok(Page { items, last })
    }

    /// Where the last of what was found is.
    async fn position(&self, range: &JsValue, found: &Array) -> JsResult<Option<Position>> {
        let told = self.told(&found.at(-1));
        if told.is_some() {
            return Ok(told);
        }
        let request = self.source.open_key_cursor(range, "next")?;
        let mut last = cursor(&request).await?;
        if let (Some(first), true) = (&last, found.length() > 1) {
            first.advance(found.length() - 1)?;
            last = cursor(&request).await?;
        }
        Ok(last.map(|cursor| Position::of(&cursor)))
    }

    /// Where an item is, if it says so itself: if it is a key of the store, or a record whose keys are fields of it.
    fn told(&self, item: &JsValue) -> Option<Position> {
        let is_by_index = !self.query.index.is_undefined();
        if self.query.is_keys_only {
            return (!is_by_index).then(|| Position { key: item.clone(), primary: item.clone() });
        }
        let field = |source: &Source| {
            let path = source.key_path().as_string().filter(|path| !path.is_empty() && !path.contains('.'))?;
            Reflect::get(item, &path.into()).ok().filter(|value| !value.is_undefined())
        };
        if is_by_index && self.source.is_multi_entry() {
            return None;
        }
        let key = field(&self.source)?;
        let primary = if is_by_index { field(&self.source.object_store())? } else { key.clone() };
        Some(Position { key, primary })
    }

    async fn reversed(&self, range: &JsValue, left: u32, items: &Array) -> JsResult<Option<Position>> {
        let options = Object::new();
        for (name, value) in [("query", range), ("count", &left.into()), ("direction", &"prev".into())] {
            Reflect::set(&options, &name.into(), value)?;
        }
        let found: Array = self.source.get_all_records(&options)?.done().await?.unchecked_into();
        for record in found.iter() {
            let record: &Cursor = record.unchecked_ref();
            items.push(&if self.query.is_keys_only { record.primary_key() } else { record.value() });
        }
        let is_full = found.length() == left;
        Ok(is_full.then(|| Position::of(found.get(left - 1).unchecked_ref())))
    }

    /// Adds record by record, those of the same key behind `after`, and says where the page ends if that is full.
    async fn walk(&self, range: &JsValue, after: Option<&JsValue>, items: &Array) -> JsResult<Option<Position>> {
        let Query { is_backward, limit, is_keys_only, .. } = *self.query;
        let direction = if is_backward { "prev" } else { "next" };
        let request = match is_keys_only {
            true => self.source.open_key_cursor(range, direction)?,
            false => self.source.open_cursor(range, direction)?,
        };
        let mut is_behind = after.is_none();
        while let Some(cursor) = cursor(&request).await? {
            if let (Some(after), false) = (after, is_behind) {
                let order = self.keys.factory.cmp(&cursor.primary_key(), after)?;
                let order = if is_backward { -order } else { order };
                if order < 0 {
                    cursor.continue_primary_key(&cursor.key(), after)?;
                    continue;
                }
                is_behind = true;
                if order == 0 {
                    cursor.next()?;
                    continue;
                }
            }
            items.push(&if is_keys_only { cursor.primary_key() } else { cursor.value() });
            if items.length() == limit {
                return Ok(Some(Position::of(&cursor)));
            }
            cursor.next()?;
        }
        Ok(None)
    }
}

impl Position {
    fn of(cursor: &Cursor) -> Self {
        Position { key: cursor.key(), primary: cursor.primary_key() }
    }
}

/// The cursor that a request has come to; none at the end.
async fn cursor(request: &Request) -> JsResult<Option<Cursor>> {
    let cursor = request.done().await?;
    Ok((!cursor.is_null() && !cursor.is_undefined()).then(|| cursor.unchecked_into()))
}
