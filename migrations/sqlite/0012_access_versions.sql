-- Why: who may see an app's console changes with roles and grants, and a node that holds open consoles must learn of it. The
-- number rises with each such change of an organisation; nodes read it with its apps, and whoever was let in under another
-- number asks again.

alter table accounts add column access_version bigint not null default 0;
