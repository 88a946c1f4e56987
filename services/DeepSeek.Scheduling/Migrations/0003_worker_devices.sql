-- What the worker's machine's devices were rated to do, JSON.
alter table workers add column devices text;
