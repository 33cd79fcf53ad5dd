"""The materialisation of a day. Readers see all of it or nothing, a second run changes nothing,
and a source that was empty when the job ran is an error instead of a day of zeros."""

import os

import pandas as pd
import tilekv

VIEW = "sales"
DAY = pd.Timedelta(days=1)


def load(client, day, frame):
    token = f"nightly-{day:%Y-%m-%d}"
    with client.job(VIEW, day, day + DAY, token=token) as job:
        job.write(frame, entity="seller", time="sold_at")
    print(f"{day:%Y-%m-%d}: {len(frame)} rows are published")


def show(client, now):
    result = client.window_mget(VIEW, ["s:1", "s:2"], ["revenue@2d"], at=now, status=True)
    revenue = result["revenue@2d"]
    statuses = [tilekv.Status(status).name.lower() for status in revenue.status]
    print(f"as of {now:%Y-%m-%d}:", revenue.to_list(), statuses)


def main():
    client = tilekv.Client(os.environ.get("TILEKV_ADDRESS", "127.0.0.1:8453"))
    client.create_view(
        VIEW,
        tile="1d",
        columns={"price": "f64"},
        features={"revenue": "sum(price)"},
        seal="required",  # Windows end where the data does.
        max_lag="1d",
    )
    first = pd.Timestamp("2026-01-01", tz="UTC")
    for day in (first, first + DAY):
        sales = {"seller": ["s:1", "s:2", "s:1"], "sold_at": [day] * 3, "price": [10.0, 5.0, 2.5]}
        load(client, day, pd.DataFrame(sales))
        load(client, day, pd.DataFrame(sales))  # A scheduler's second attempt.
    show(client, first + 2 * DAY)
    try:
        load(client, first + 2 * DAY, pd.DataFrame({"seller": [], "sold_at": [], "price": []}))
    except tilekv.EmptyJobError as error:
        print("refused:", error.code)
    # The window stays on the last two days that there are, and says that it lags.
    show(client, first + 4 * DAY)


if __name__ == "__main__":
    main()
