pub mod cli;

pub mod output;

pub mod container;

pub mod image;

pub mod volume;

pub mod network;

pub mod monitor;

pub mod runtime;

pub mod engine;

pub mod storage;

pub mod userns;

pub mod settings;

pub mod sys;

pub mod id;

pub mod error;
