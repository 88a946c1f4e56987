alter table runs add column compute text;
