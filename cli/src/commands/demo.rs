//! `truc demo`.
mod fixture;
mod search;
