//! Names for states: 128 bits of a hash, so that two states share one less often than a memory
//! cell fails. (With 10 million states: one chance in 10^24.)

use core::hash::{BuildHasherDefault, Hash, Hasher};
use std::collections::{HashMap, HashSet};

/// Odd numbers of random bits.
const LEFT: u64 = 0x9e37_79b9_7f4a_7c15;
const RIGHT: u64 = 0xbf58_476d_1ce4_e5b9;

/// Two lanes of 64 bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wide {
    left: u64,
    right: u64,
}

/// Multiplies and keeps what either half of the product knows.
const fn fold(value: u64, by: u64) -> u64 {
    let product = (value as u128) * (by as u128);
    (product >> 64) as u64 ^ (product & 0xffff_ffff_ffff_ffff) as u64
}

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        if !rest.is_empty() {
            self.write_u64(u64::from_le_bytes(last));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.left = fold(self.left ^ word ^ RIGHT, LEFT).wrapping_add(word);
        self.right = fold(self.right.rotate_left(29) ^ word ^ LEFT, RIGHT) ^ self.right;
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        fold(self.left ^ self.right.rotate_left(32), LEFT)
    }
}

/// The name of a state.
#[must_use]
pub fn of(state: &impl Hash) -> u128 {
    let mut hasher = Wide::default();
    state.hash(&mut hasher);
    (u128::from(hasher.left) << 64) | u128::from(hasher.right)
}

/// Maps and sets with this hash.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Wide>>;
/// See [`Map`].
pub type Set<K> = HashSet<K, BuildHasherDefault<Wide>>;

/// Things that are met again and again, by number. A number lasts; the thing may be dropped.
#[derive(Debug)]
pub struct Known<T> {
    numbers: Map<u128, u32>,
    things: Vec<Option<std::rc::Rc<T>>>,
}

impl<T: Hash> Known<T> {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self { numbers: Map::default(), things: Vec::new() }
    }

    /// The number of a thing: the one that it had before, if it was known.
    pub fn number(&mut self, thing: T) -> u32 {
        self.number_named(of(&thing), thing)
    }

    /// The same where the name is known already.
    pub fn number_named(&mut self, name: u128, thing: T) -> u32 {
        let next = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.things.push(None);
        }
        self.things[number as usize].get_or_insert_with(|| std::rc::Rc::new(thing));
        number
    }

    /// The thing with this number; it must not have been dropped.
    ///
    /// # Panics
    /// When it was.
    #[must_use]
    pub fn get(&self, number: u32) -> std::rc::Rc<T> {
        self.things[number as usize].clone().expect("a thing that is in use was dropped")
    }

    /// Brings back a thing that was dropped.
    pub fn restore(&mut self, number: u32, thing: std::rc::Rc<T>) {
        self.things[number as usize] = Some(thing);
    }

    /// Drops every thing but these.
    pub fn keep(&mut self, used: &Set<u32>) {
        for (number, thing) in self.things.iter_mut().enumerate() {
            if !u32::try_from(number).is_ok_and(|number| used.contains(&number)) {
                *thing = None;
            }
        }
    }

    /// How many there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }
}

impl<T: Hash> Default for Known<T> {
    fn default() -> Self {
        Self::new()
    }
}
