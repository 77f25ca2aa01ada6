//! Items in the order in which they were added, found by a key.

use std::collections::HashMap;
use std::hash::Hash;

/// Items with a key each, which keep their order.
#[derive(Debug)]
pub(crate) struct Keyed<K, T> {
    /// In the order in which they were added.
    pub(crate) items: Vec<T>,
    places: HashMap<K, usize>,
}

impl<K, T> Default for Keyed<K, T> {
    fn default() -> Self {
        Self { items: Vec::new(), places: HashMap::new() }
    }
}

impl<K: Hash + Eq, T> Keyed<K, T> {
    /// Returns the place of the item with a key, and adds it if there is none.
    pub(crate) fn place(&mut self, key: K, make: impl FnOnce() -> T) -> usize {
        *self.places.entry(key).or_insert_with(|| {
            self.items.push(make());
            self.items.len() - 1
        })
    }

    /// Returns the item with a key, and adds it if there is none.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> T) -> &mut T {
        let place = self.place(key, make);
        &mut self.items[place]
    }

    /// Returns the place of the item with a key.
    pub(crate) fn find(&self, key: &K) -> Option<usize> {
        self.places.get(key).copied()
    }
}
