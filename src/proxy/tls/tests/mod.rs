mod authority;
mod certificates;
mod sessions;
