//! Every triple of an end (does the VM run, the status of the migration, the states of its devices) that the model
//! allows, and what follows it: explored, and projected to what was seen.
