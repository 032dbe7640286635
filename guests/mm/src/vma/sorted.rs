//! Values by ascending keys, in chunks: a tree of two levels whose leaves are searched by halves.
//!
//! An address space is asked for one address many times in a call, and for what lies beside it. A
//! [`Place`] answers that without another search.

use alloc::vec::Vec;

/// Most values of a chunk: a move within one costs less than a node of a deeper tree.
const CHUNK: usize = 32;

/// Values by ascending keys.
#[derive(Debug)]
pub(super) struct Sorted<V> {
    /// None is empty; every key is below those of the next chunk.
    chunks: Vec<Vec<(u32, V)>>,
    len: usize,
}

/// Where a value stands, or would: good until the next insertion or removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    chunk: usize,
    index: usize,
}

impl Place {
    /// That of the first value, if there is one.
    pub const FIRST: Place = Place { chunk: 0, index: 0 };

    /// The place with this index among those that [`Sorted::around`] gives.
    pub fn with_index(self, index: usize) -> Place {
        Place { index, ..self }
    }
}

impl<V> Sorted<V> {
    /// Nothing.
    pub const fn new() -> Self {
        Sorted { chunks: Vec::new(), len: 0 }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The place of the first value whose key is above `key`; behind the last one if there is none.
    pub fn place_above(&self, key: u32) -> Place {
        let chunk = count_until(&self.chunks, |chunk| chunk.first().is_some_and(|first| first.0 <= key));
        let Some(chunk) = chunk.checked_sub(1) else { return Place::FIRST };
        let index = count_until(&self.chunks[chunk], |(at, _)| *at <= key);
        self.normal(Place { chunk, index })
    }

    /// The value at a place; `None` behind the last one.
    pub fn get(&self, at: Place) -> Option<&V> {
        Some(&self.chunks.get(at.chunk)?.get(at.index)?.1)
    }

    /// The same, to change the value.
    pub fn get_mut(&mut self, at: Place) -> Option<&mut V> {
        Some(&mut self.chunks.get_mut(at.chunk)?.get_mut(at.index)?.1)
    }

    /// Lets `change` have the entries around a place, with the index of that place's: both its neighbours are
    /// among them, or there are none, and two more fit in. It leaves at least one, in ascending order. `None` where
    /// the entries do not stand so.
    #[inline]
    pub fn around<R>(&mut self, at: Place, change: impl FnOnce(&mut Vec<(u32, V)>, usize) -> R) -> Option<R> {
        let is_last_chunk = at.chunk + 1 == self.chunks.len();
        let chunk = self.chunks.get_mut(at.chunk)?;
        let (len, index) = (chunk.len(), at.index);
        if index >= len || len + 2 > CHUNK || index == 0 && at.chunk != 0 || index + 1 == len && !is_last_chunk {
            return None;
        }
        let result = change(chunk, index);
        self.len = self.len.wrapping_add(chunk.len().wrapping_sub(len));
        Some(result)
    }

    /// The place before a place.
    pub fn before(&self, at: Place) -> Option<Place> {
        if let Some(index) = at.index.checked_sub(1) {
            return Some(Place { index, ..at });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(Place { chunk, index: self.chunks.get(chunk)?.len() - 1 })
    }

    /// The place behind a value's place.
    pub fn after(&self, at: Place) -> Place {
        self.normal(Place { index: at.index + 1, ..at })
    }

    /// Where the value stands that has come to `at` by a removal there.
    pub fn normal(&self, at: Place) -> Place {
        match self.chunks.get(at.chunk) {
            Some(chunk) if at.index >= chunk.len() => Place { chunk: at.chunk + 1, index: 0 },
            _ => at,
        }
    }

    /// Puts a value before the one at a place; its key is between those of its neighbours.
    pub fn insert(&mut self, at: Place, key: u32, value: V) {
        self.len += 1;
        // Behind its neighbour before, so that the last chunk grows.
        let at = self.before(at).map_or(Place::FIRST, |before| Place { index: before.index + 1, ..before });
        let Some(chunk) = self.chunks.get_mut(at.chunk) else {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.push((key, value));
            return self.chunks.push(chunk);
        };
        if chunk.len() < CHUNK {
            return chunk.insert(at.index, (key, value));
        }
        let mut upper = Vec::with_capacity(CHUNK);
        upper.extend(chunk.drain(CHUNK / 2..));
        match at.index.checked_sub(CHUNK / 2) {
            Some(index) if index > 0 => upper.insert(index, (key, value)),
            _ => chunk.insert(at.index, (key, value)),
        }
        self.chunks.insert(at.chunk + 1, upper);
    }

    /// Takes out the value at a place.
    pub fn remove(&mut self, at: Place) -> Option<V> {
        let chunk = self.chunks.get_mut(at.chunk).filter(|chunk| at.index < chunk.len())?;
        let (_, value) = chunk.remove(at.index);
        if chunk.is_empty() {
            self.chunks.remove(at.chunk);
        }
        self.len -= 1;
        Some(value)
    }

    /// All values, ascending.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.chunks.iter().flatten().map(|(_, value)| value)
    }

    /// The values from a place on.
    pub fn values_from(&self, at: Place) -> impl Iterator<Item = &V> {
        let mut next = at;
        core::iter::from_fn(move || {
            let value = self.get(next)?;
            next = self.after(next);
            Some(value)
        })
    }
}

/// How many values stand before the first of which `is_before` does not hold, as it does of none behind that:
/// `partition_point` in fewer instructions for a handful of values.
fn count_until<T>(values: &[T], is_before: impl Fn(&T) -> bool) -> usize {
    let (mut low, mut high) = (0, values.len());
    while low < high {
        let middle = (low + high) / 2;
        match values.get(middle).is_some_and(&is_before) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{collections::BTreeMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(ops in proptest::collection::vec((any::<bool>(), 0u32..200), 1..600)) {
            let (mut sorted, mut map) = (Sorted::new(), BTreeMap::new());
            for (is_insertion, key) in ops {
                let above = sorted.place_above(key);
                let known = sorted.before(above).filter(|&at| sorted.get(at) == Some(&key));
                prop_assert_eq!(known.is_some(), map.contains_key(&key));
                match known {
                    None if is_insertion => {
                        sorted.insert(above, key, key);
                        map.insert(key, ());
                    }
                    Some(at) if !is_insertion => {
                        prop_assert_eq!(sorted.remove(at), Some(key));
                        map.remove(&key);
                        let behind = sorted.get(sorted.normal(at)).copied();
                        prop_assert_eq!(behind, map.range(key..).next().map(|(key, _)| *key));
                    }
                    _ => {}
                }
                let above = sorted.place_above(key);
                prop_assert_eq!(sorted.get(above).copied(), map.range(key + 1..).next().map(|(key, _)| *key));
                let from: Vec<u32> = sorted.values_from(above).copied().collect();
                prop_assert_eq!(from, map.range(key + 1..).map(|(key, _)| *key).collect::<Vec<_>>());
                prop_assert_eq!(sorted.len(), map.len());
                prop_assert!(sorted.values().eq(map.keys()) && sorted.values().rev().eq(map.keys().rev()));
            }
        }
    }

    #[test]
    fn keys_that_come_in_order_fill_chunks_and_leave_no_empty_one() {
        let mut sorted = Sorted::new();
        for key in 0..1000 {
            sorted.insert(sorted.place_above(key), key, key);
        }
        assert!(sorted.chunks.len() <= 1000 / (CHUNK / 2) + 1);
        while let Some(at) = sorted.before(sorted.place_above(999)) {
            sorted.remove(at);
        }
        assert!(sorted.chunks.is_empty() && sorted.len() == 0);
    }
}
