insert into shop.customers (name, email, tags, profile)
select 'Customer ' || i, 'c' || i || '@example.com', array['tier' || i % 3, 'ünïcode ' || i],
       jsonb_build_object('n', i, 'nested', jsonb_build_array(i, null, 'x'))
from generate_series(1, 500) i;

insert into shop.orders (customer, state, total, items)
select 1 + i % 500, case when i <= 1500 then 'paid' else 'new' end::shop.order_state, (i % 997) / 7.0, jsonb_build_array(jsonb_build_object('sku', i % 50, 'qty', 1 + i % 5))
from generate_series(1, 2000) i;

insert into shop.payments (order_id, attempt, amount, receipt, paid)
select i, 1, (i % 997) / 7.0, decode(md5(i::text), 'hex'), timestamp '2026-01-01' + i * interval '1 minute'
from generate_series(1, 1500) i;

insert into shop."Stock.Level"
select i, 1000, int4range(i, i + 10), repeat(md5(i::text), 200) from generate_series(1, 50) i;
