"""The whole product on one machine: embedded servers, migrations, four services, sample data."""
