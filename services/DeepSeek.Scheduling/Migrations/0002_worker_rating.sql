-- Floating-point operations a second of the worker's best rated device; null where none was rated.
alter table workers add column rating double precision;
