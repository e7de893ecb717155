mod anew;
mod authority;
mod certificates;
mod leaving;
mod sessions;
mod stage;
